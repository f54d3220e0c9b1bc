/* doctor.h - what the files of ringctl doctor share. */
#ifndef RINGCTL_DOCTOR_H
#define RINGCTL_DOCTOR_H

#include "ringctl.h"

enum verdict { FINE, NOTE, BAD };

struct examination {
    struct json json;
    bool as_json;
    unsigned bad;
    unsigned notes;
};

/* One finding: what was looked at, what it is, and what to do when that is not as it could be. */
void tell(struct examination *at, const char *check, enum verdict verdict, const char *advice, const char *format, ...)
    RING_PRINTF(5, 6);

/* The first line of a file, "" when there is none; and the number in it. */
const char *line_of(const char *path, char *line, size_t size);
uint64_t number_of(const char *path);

void examine_memory(struct examination *at);

#endif
