/* text.c - what ringctl says: to people in sentences, to programs in JSON. */
#include "ringctl.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

RING_PRINTF(1, 0) static void say(const char *format, va_list arguments, const char *more)
{
    fflush(stdout);
    flockfile(stderr);
    fputs("ringctl: ", stderr);
    vfprintf(stderr, format, arguments);
    if (more)
        fprintf(stderr, ": %s", more);
    fputc('\n', stderr);
    funlockfile(stderr);
}

int complain(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say(format, arguments, NULL);
    va_end(arguments);
    return STATUS_FAILED;
}

int complain_library(int error, const char *format, ...)
{
    const char *detail = ring_error_detail();
    va_list arguments;
    va_start(arguments, format);
    say(format, arguments, *detail ? detail : strerror(-error));
    va_end(arguments);
    return STATUS_FAILED;
}

void remark(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say(format, arguments, NULL);
    va_end(arguments);
}

/* Bytes of the UTF-8 character at `text` that may be shown as it is; 0: none. C1 controls steer terminals as well. */
static size_t character_bytes(const unsigned char *text, size_t length)
{
    unsigned char first = text[0];
    if (first < 0x80)
        return first >= 0x20 && first != 0x7f;
    size_t bytes = first >= 0xf0 && first < 0xf5   ? 4
                   : first >= 0xe0 && first < 0xf0 ? 3
                   : first >= 0xc2 && first < 0xe0 ? 2
                                                   : 0;
    if (!bytes || bytes > length)
        return 0;
    for (size_t at = 1; at < bytes; at++) {
        if ((text[at] & 0xc0) != 0x80)
            return 0;
    }
    bool overlong = (first == 0xe0 && text[1] < 0xa0) || (first == 0xf0 && text[1] < 0x90);
    bool beyond = (first == 0xed && text[1] >= 0xa0) || (first == 0xf4 && text[1] >= 0x90);
    bool control = first == 0xc2 && text[1] < 0xa0;
    return overlong || beyond || control ? 0 : bytes;
}

const char *printable(const char *text, size_t length, char *buffer, size_t size)
{
    const unsigned char *from = (const unsigned char *)text;
    size_t at = 0, to = 0;
    length = strnlen(text, length);
    while (at < length && to + 5 < size) {
        size_t bytes = character_bytes(from + at, length - at);
        if (!bytes) {
            buffer[to++] = '?';
            at++;
            continue;
        }
        memcpy(buffer + to, from + at, bytes);
        to += bytes;
        at += bytes;
    }
    buffer[to] = 0;
    return buffer;
}

const char *human_bytes(uint64_t bytes, char *buffer, size_t size)
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" };
    unsigned unit = 0;
    double value = (double)bytes;
    while (value >= 1024 && unit + 1 < sizeof units / sizeof *units) {
        value /= 1024;
        unit++;
    }
    bool whole = bytes == (uint64_t)value << (10 * unit);
    snprintf(buffer, size, "%.*f %s", whole || value >= 100 ? 0 : value >= 10 ? 1 : 2, value, units[unit]);
    return buffer;
}

const char *error_name(int error)
{
    const char *name = strerrorname_np(-error);
    return name ? name : "unknown";
}

const char *without_slash(const char *segment)
{
    return segment[0] == '/' ? segment + 1 : segment;
}

static void json_key(struct json *json, const char *key)
{
    if (json->depth)
        fprintf(json->file, "%s\n%*s", json->comma ? "," : "", 2 * json->depth, "");
    json->comma = true;
    if (key)
        fprintf(json->file, "\"%s\": ", key);
}

void json_open(struct json *json, const char *key, char bracket)
{
    json_key(json, key);
    fputc(bracket, json->file);
    json->depth++;
    json->comma = false;
}

void json_close(struct json *json, char bracket)
{
    json->depth--;
    if (json->comma)
        fprintf(json->file, "\n%*s", 2 * json->depth, "");
    fputc(bracket, json->file);
    json->comma = true;
    if (!json->depth)
        fputc('\n', json->file);
}

void json_number(struct json *json, const char *key, uint64_t value)
{
    json_key(json, key);
    fprintf(json->file, "%ju", (uintmax_t)value);
}

void json_word(struct json *json, const char *key, const char *word)
{
    json_key(json, key);
    fputs(word, json->file);
}

void json_text(struct json *json, const char *key, const char *text)
{
    char clean[1024];
    json_key(json, key);
    fputc('"', json->file);
    for (const char *at = printable(text, strlen(text), clean, sizeof clean); *at; at++) {
        if (*at == '"' || *at == '\\')
            fputc('\\', json->file);
        fputc(*at, json->file);
    }
    fputc('"', json->file);
}

int finish_output(int status)
{
    if (fflush(stdout) || ferror(stdout)) {
        if (errno != EPIPE)
            complain("cannot write to standard output: %s", strerror(errno));
        return STATUS_FAILED;
    }
    return status;
}
