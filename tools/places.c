/* places.c - ringctl info: where pages are, by node and by size, against what was asked for. */
#include "ringctl.h"

#include <stdlib.h>
#include <string.h>

const char *node_wish(int node, char *buffer, size_t size)
{
    if (node >= 0)
        snprintf(buffer, size, "node %d", node);
    else
        snprintf(buffer, size, "%s", node == RING_NODE_INTERLEAVED ? "interleaved" : "any");
    return buffer;
}

/* ", 4 MiB on node 0 (2 MiB of them in 2 MiB pages or larger)" */
static void print_share(const struct ring_pages *pages, const char *where, uint64_t bytes, uint64_t huge_bytes,
                        bool *first)
{
    char text[32], huge[32];
    printf("%s%s on %s", *first ? "" : ", ", human_bytes(bytes, text, sizeof text), where);
    *first = false;
    if (pages->huge_known && huge_bytes == bytes)
        printf(" in huge pages");
    else if (pages->huge_known && huge_bytes)
        printf(" (%s in huge pages)", human_bytes(huge_bytes, huge, sizeof huge));
}

static void print_pages(const struct ring_pages *pages, const char *indent)
{
    char where[32], text[32];
    bool first = true;
    printf("%s%-10s ", indent, "nodes");
    for (int node = 0; node < RING_PAGES_NODES; node++)
        if (pages->node_bytes[node]) {
            snprintf(where, sizeof where, "node %d", node);
            print_share(pages, where, pages->node_bytes[node], pages->node_huge_bytes[node], &first);
        }
    if (pages->elsewhere_bytes)
        print_share(pages, "higher nodes", pages->elsewhere_bytes, 0, &first);
    if (pages->absent_bytes)
        printf("%s%s not in memory", first ? "" : ", ", human_bytes(pages->absent_bytes, text, sizeof text));
    if (pages->unknown_bytes)
        printf("unknown (the kernel does not tell, or this was built without libnuma)");
    printf("; asked for: %s%s\n", node_wish(pages->asked, where, sizeof where),
           pages->asked == RING_NODE_ANY ? ""
           : pages->granted              ? ", granted"
                                         : ", NOT granted: see 'ringctl doctor' and 'numactl --hardware'");
}

static void json_pages(struct json *json, const struct ring_pages *pages)
{
    char wish[32];
    json_open(json, "pages", '{');
    json_text(json, "asked", node_wish(pages->asked, wish, sizeof wish));
    json_word(json, "granted", pages->granted ? "true" : "false");
    json_number(json, "bytes", pages->bytes);
    json_number(json, "granule", pages->granule);
    json_open(json, "nodes", '[');
    for (int node = 0; node < RING_PAGES_NODES; node++)
        if (pages->node_bytes[node]) {
            json_open(json, NULL, '{');
            json_number(json, "node", (uint64_t)node);
            json_number(json, "bytes", pages->node_bytes[node]);
            if (pages->huge_known)
                json_number(json, "huge_bytes", pages->node_huge_bytes[node]);
            json_close(json, '}');
        }
    json_close(json, ']');
    json_number(json, "elsewhere_bytes", pages->elsewhere_bytes);
    json_number(json, "absent_bytes", pages->absent_bytes);
    json_number(json, "unknown_bytes", pages->unknown_bytes);
    json_close(json, '}');
}

void show_pages(struct ring_segment *segment, const char *ring, struct json *json)
{
    struct ring_pages pages = { .struct_size = sizeof pages };
    if (ring_segment_pages(segment, ring, &pages) != 0)
        return; /* it has just been removed */
    if (json)
        json_pages(json, &pages);
    else if (!ring || pages.asked != RING_NODE_ANY || pages.node == RING_NODE_MIXED)
        print_pages(&pages, ring ? "    " : "  ");
}
