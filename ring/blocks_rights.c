/* blocks_rights.c - level 6: what a process may do to the pages of a pool; see enum ring_blocks_rights.
 *
 * Rights belong to a mapping, so to all handles of a pool that were opened through one handle of its segment. Either
 * all of them may write everywhere, and the kernel is never asked; or none: then the pages of all blocks are for
 * reading, but for those of blocks that a handle owns which may write what is its own. The first such handle takes the
 * right to write away, the last one gives it back, before it lets go of the pool: what is made in its room later is
 * written to.
 *
 * A block's pages are made writable after it is owned, and read-only before it is anybody else's. So two such changes
 * of one block never overlap, whichever threads make them. Nothing of this is shared, and nothing is left by a death.
 */
#include <ring/blocks_private.h>

#include <errno.h>
#include <stdlib.h>

#include <ring/error.h>

/* Handles of one pool in this mapping. */
struct ring_blocks_users {
    unsigned free;  /* those that may write everywhere */
    unsigned bound; /* and those that may not */
};

/* Bytes of which a right can be taken without breaking a page apart. */
static size_t granule_of(const struct ring_segment *segment)
{
    bool collapsed = (segment->flags & RING_HUGE) && !segment->memory.huge_error;
    if (segment->memory.page)
        return segment->memory.page;
    return collapsed ? RING_MEMORY_HUGE : ring_memory_page();
}

/* Can rights be given block by block? */
static int check_pages(const struct ring_blocks_view *view, const char *pool)
{
    const struct ring_segment *segment = view->segment;
    size_t granule = granule_of(segment);
    if (segment->memory.given)
        return ring_error(-EOPNOTSUPP, "the memory of %s was given, and is left as it is: so are the rights to it",
                          segment->name);
    for (unsigned i = 0; i < view->class_count; i++)
        if (view->rows[i].stride % granule || (uintptr_t)view->rows[i].data % granule)
            return ring_error(-EOPNOTSUPP,
                              "blocks of %zu bytes in pool '%s' are no whole pages, and rights go by pages, of %zu KiB "
                              "in %s: make the pool with .align = %zu%s",
                              view->rows[i].block_bytes, pool, granule >> 10, segment->name, granule,
                              granule > ring_memory_page() && !segment->memory.page
                                  ? ", or make and attach the segment without RING_HUGE"
                                  : "");
    return 0;
}

/* The pages of all blocks. */
static int allow_all(const struct ring_blocks_view *view, bool write)
{
    const struct ring_blocks_row *last = &view->rows[view->class_count - 1];
    unsigned char *end = last->data + (last->end - last->first) * last->stride;
    return ring_memory_allow(view->rows[0].data, (size_t)(end - view->rows[0].data), write);
}

/* The lock is held. */
static int join(struct ring_blocks_users *users, const struct ring_blocks_view *view, const char *pool, bool bound)
{
    if (bound ? users->free : users->bound)
        return ring_error(-EBUSY,
                          "this process has pool '%s' open with other rights already, and rights are those of a "
                          "mapping: attach %s once more, and open the pool there",
                          pool, view->segment->name);
    int code = bound ? check_pages(view, pool) : 0;
    if (!code && bound && users->bound == 0 && (code = allow_all(view, false)) != 0)
        (void)allow_all(view, true);
    if (!code && bound)
        users->bound++;
    else if (!code)
        users->free++;
    return code;
}

int ring_blocks_take_rights(const struct ring_blocks_view *view, const char *pool, unsigned rights)
{
    struct ring_segment *segment = view->segment;
    if (rights == RING_BLOCKS_BLIND)
        return 0;
    pthread_mutex_lock(&segment->rights_lock);
    if (!segment->pool_users)
        segment->pool_users = calloc(segment->constants.directory_entries, sizeof *segment->pool_users);
    int code = segment->pool_users
                   ? join(&segment->pool_users[view->entry], view, pool, rights != RING_BLOCKS_WRITE_ALL)
                   : ring_error(-ENOMEM, "out of memory");
    pthread_mutex_unlock(&segment->rights_lock);
    return code;
}

void ring_blocks_leave_rights(const struct ring_blocks_view *view, unsigned rights)
{
    struct ring_segment *segment = view->segment;
    if (rights == RING_BLOCKS_BLIND)
        return;
    pthread_mutex_lock(&segment->rights_lock);
    struct ring_blocks_users *users = &segment->pool_users[view->entry];
    if (rights == RING_BLOCKS_WRITE_ALL)
        users->free--;
    else if (--users->bound == 0)
        (void)allow_all(view, true); /* joins pieces, and needs none more */
    pthread_mutex_unlock(&segment->rights_lock);
}

int ring_blocks_allow(const struct ring_blocks *blocks, uint64_t number, bool write)
{
    if (blocks->rights != RING_BLOCKS_WRITE_OWN)
        return 0;
    const struct ring_blocks_row *row = blocks->view.rows;
    while (number >= row->end)
        row++;
    return ring_memory_allow(row->data + (number - row->first) * row->stride, row->stride, write);
}

void ring_blocks_shut_owned(const struct ring_blocks *blocks)
{
    if (blocks->rights != RING_BLOCKS_WRITE_OWN)
        return;
    for (uint64_t number = 0; number < blocks->view.total; number++) {
        uint64_t word = ring_atomic_load(&blocks->view.words[number], memory_order_relaxed); /* K1: our own */
        if ((word & (RING_BLOCK_SEATS | RING_BLOCK_STATE)) == (blocks->me | RING_BLOCK_OWNED))
            (void)ring_blocks_allow(blocks, number, false);
    }
}
