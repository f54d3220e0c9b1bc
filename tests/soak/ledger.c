/* ledger.c - messages that can be told apart and checked, and the account of each.
 *
 * A message says who sent it (the producer's life and the message's number in it), where (broadcast: its position), and
 * a sum over both and its length, from which all its other bytes follow. So any mixture of two messages is found out.
 *
 * Rules: a message that was sent is received once without the flag, or else at least once with it; never twice without.
 * Missing may only be what a consumer that was killed inside recv() took with it: at most what it had in hand. What a
 * producer had in hand when it was killed may be missing, or be there.
 */
#include "soak.h"

#include <stdarg.h>
#include <time.h>

struct soak_ledger *soak_ledger;

static uint64_t mix(uint64_t value)
{
    value = (value ^ value >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ value >> 27) * UINT64_C(0x94d049bb133111eb);
    return value ^ value >> 31;
}

uint64_t soak_random(struct soak_random *random)
{
    random->state += UINT64_C(0x9e3779b97f4a7c15);
    return mix(random->state);
}

uint64_t soak_below(struct soak_random *random, uint64_t bound)
{
    return soak_random(random) % bound;
}

int64_t soak_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

void soak_nap(int64_t nanoseconds)
{
    struct timespec time = { nanoseconds / 1000000000, nanoseconds % 1000000000 };
    nanosleep(&time, NULL);
}

static void say(const char *format, va_list arguments)
{
    if (ring_atomic_exchange(&soak_ledger->failed, 1, memory_order_acq_rel) == 0)
        vsnprintf(soak_ledger->said, sizeof soak_ledger->said, format, arguments);
}

void soak_fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say(format, arguments);
    va_end(arguments);
    _exit(1);
}

static bool complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
static bool complain(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say(format, arguments);
    va_end(arguments);
    return false;
}

/* ---- Messages ---- */

static uint64_t body_word(uint64_t sum, uint64_t index)
{
    return sum * (2 * index + 1) + index;
}

void soak_write(void *message, size_t length, uint64_t who, uint64_t where)
{
    unsigned char *at = message;
    uint64_t head[3] = { who, where, mix(who ^ mix(where ^ mix(length))) };
    memcpy(at, head, sizeof head);
    for (size_t i = sizeof head; i < length; i += 8) {
        uint64_t word = body_word(head[2], i);
        memcpy(at + i, &word, length - i < 8 ? length - i : 8);
    }
}

void soak_check(const void *message, size_t length, uint64_t *who, uint64_t *where)
{
    const unsigned char *at = message;
    uint64_t head[3];
    if (length < sizeof head)
        soak_fail("torn: a message of %zu bytes came, none so short was sent", length);
    memcpy(head, at, sizeof head);
    if (head[2] != mix(head[0] ^ mix(head[1] ^ mix(length))))
        soak_fail("torn: message of %zu bytes, who 0x%llx, where %llu: the sum is wrong", length,
                  (unsigned long long)head[0], (unsigned long long)head[1]);
    for (size_t i = sizeof head; i < length; i += 8) {
        uint64_t word = body_word(head[2], i);
        if (memcmp(at + i, &word, length - i < 8 ? length - i : 8) != 0)
            soak_fail("torn: message 0x%llx of %zu bytes is wrong at byte %zu", (unsigned long long)head[0], length, i);
    }
    *who = head[0];
    *where = head[1];
}

/* ---- Accounts ---- */

struct soak_life *soak_life_of(uint64_t who)
{
    uint64_t index = (who >> 32) - soak_ledger->first_life;
    if (index >= SOAK_LIVES || (uint32_t)who >= SOAK_LIFE_MESSAGES)
        soak_fail("message 0x%llx came, which nobody sent in this round", (unsigned long long)who);
    return &soak_ledger->lives[index];
}

void soak_book(uint64_t who, bool flagged)
{
    struct soak_life *life = soak_life_of(who);
    uint32_t number = (uint32_t)who;
    if (number >= ring_atomic_load(&life->began, memory_order_acquire))
        soak_fail("message 0x%llx came before it was sent", (unsigned long long)who);
    RING_ATOMIC(uint8_t) *seen = &soak_ledger->seen[life - soak_ledger->lives][number];
    uint8_t before = atomic_fetch_or_explicit(seen, flagged ? 2 : 1, memory_order_relaxed);
    if (flagged)
        atomic_fetch_add_explicit(&soak_ledger->flagged, 1, memory_order_relaxed);
    if (before)
        atomic_fetch_add_explicit(&soak_ledger->duplicates, 1, memory_order_relaxed);
    if (!flagged && (before & 1))
        soak_fail("message 0x%llx came twice without RING_REDELIVERED", (unsigned long long)who);
    if (!flagged && before)
        soak_fail("message 0x%llx came without RING_REDELIVERED after it had come with it", (unsigned long long)who);
}

bool soak_settle(unsigned lives, uint64_t allowed, struct soak_sums *sums)
{
    uint64_t missing = 0, first_missing = 0;
    for (unsigned i = 0; i < lives; i++) {
        uint64_t sent = ring_atomic_load(&soak_ledger->lives[i].sent, memory_order_acquire);
        uint64_t began = ring_atomic_load(&soak_ledger->lives[i].began, memory_order_acquire);
        sums->sent += sent;
        for (uint64_t number = 0; number < began; number++) {
            bool came = ring_atomic_load(&soak_ledger->seen[i][number], memory_order_relaxed) != 0;
            sums->received += came;
            sums->in_hand_arrived += came && number >= sent;
            sums->in_hand_vanished += !came && number >= sent;
            if (!came && number < sent && missing++ == 0)
                first_missing = (soak_ledger->first_life + i) << 32 | number;
        }
    }
    sums->unbooked += missing;
    sums->allowed += allowed;
    sums->duplicates += ring_atomic_load(&soak_ledger->duplicates, memory_order_relaxed);
    sums->flagged += ring_atomic_load(&soak_ledger->flagged, memory_order_relaxed);
    if (missing > allowed)
        return complain("lost: %llu messages that were sent never came (the first 0x%llx); consumers that were killed "
                        "may have taken %llu with them",
                        (unsigned long long)missing, (unsigned long long)first_missing, (unsigned long long)allowed);
    return true;
}
