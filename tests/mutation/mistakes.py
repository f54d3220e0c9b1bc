"""The mistakes that run plants, one at a time, and the tests that should find each, the cheap ones first.

A mistake: name; file in ring/; what stands there; what stands there instead; tests. What stands there must be found exactly
once, so a list that has not kept up with the code is told. A test is
  GROUP            a group of tests/, e.g. spsc_wrap
  thread:GROUP     the same under ThreadSanitizer: an order too weak is a data race, though x86 does not show it
  crash:CALLS      kill-everywhere --only CALLS
  soak:KIND        some seconds of tests/soak
  interleave:SCENARIO  4000 seeded interleavings
  fuzz:TARGET      40000 executions of tests/fuzz
  model:MODEL:NAME the model without the same guard: for what no run on x86 shows
"""

MISTAKES = []


def mistake(name, file, old, new, *tests):
    MISTAKES.append((name, file, old, new, tests))


# ---- SPSC ----

HEADER = "    ring_atomic_store(ring_spsc_header_at(data, mask, position), header, memory_order_release);\n"
ZERO = "    ring_atomic_store(ring_spsc_header_at(data, mask, next), 0, memory_order_relaxed);\n"
COPY = """    if (length)
        ring_copy_in(data + (position & mask) + RING_RECORD_HEADER, message, length);
"""
P1 = "    /* P1: relaxed, ordered by P2; read by C1. */\n" + ZERO
P2 = "    /* P2: release, pairs with C1: payload and zero come before. */\n" + HEADER

mistake("header published without release", "spsc_hot.h", HEADER, HEADER.replace("release", "relaxed"), "interleave:spsc", "thread:spsc_traffic",
        "model:spsc:HEADER_RELAXED")
mistake("header published before the payload is copied", "spsc_hot.h", COPY + P1 + P2, P1 + P2 + COPY, "interleave:spsc", "spsc_traffic",
        "crash:spsc send")
mistake("zero behind the record forgotten", "spsc_hot.h", P1, "", "spsc_messages", "spsc_wrap")
mistake("zero behind the record written after the header", "spsc_hot.h", P1 + P2, P2 + P1, "interleave:spsc", "crash:spsc send")
mistake("consumer publishes its position without release", "spsc_hot.h",
        "ring_atomic_store(&consumer->control->head, position, memory_order_release);",
        "ring_atomic_store(&consumer->control->head, position, memory_order_relaxed);", "thread:spsc_traffic")
mistake("consumer reads the header without acquire", "spsc_hot.h",
        "ring_atomic_load(ring_spsc_header_at(consumer->data, consumer->mask, consumer->position), memory_order_acquire);",
        "ring_atomic_load(ring_spsc_header_at(consumer->data, consumer->mask, consumer->position), memory_order_relaxed);",
        "thread:spsc_traffic")
mistake("producer reads the consumer's position without acquire", "spsc.c",
        "uint64_t head = ring_atomic_load(&producer->control->head, memory_order_acquire);",
        "uint64_t head = ring_atomic_load(&producer->control->head, memory_order_relaxed);", "thread:spsc_traffic",
        "model:spsc:HEAD_BEFORE_READ")
mistake("room counted without the zero: limit off by 8", "spsc.c",
        "    producer->limit = head + producer->capacity - RING_RECORD_HEADER;\n",
        "    producer->limit = head + producer->capacity;\n", "spsc_messages", "spsc_wrap", "spsc_model")
mistake("record one word too short at odd lengths", "spsc_hot.h",
        "    return (length + RING_RECORD_HEADER + 7) & ~UINT64_C(7);\n",
        "    return (length + RING_RECORD_HEADER) & ~UINT64_C(7);\n", "spsc_messages")
mistake("length of a record in a pack not bounded", "spsc.c",
        "record->count > RING_RECORD_MAX_COUNT || record->length > max_message)",
        "record->count > RING_RECORD_MAX_COUNT)", "spsc_rubbish")
mistake("length bounded by 32 bits on the hot path only", "spsc_hot.h",
        "    if (RING_LIKELY(header - RING_RECORD_ONE <= consumer->max_message)) {\n",
        "    if (RING_LIKELY(header - RING_RECORD_ONE <= UINT32_MAX)) {\n", "spsc_rubbish")
mistake("consumer's position not checked by the producer", "spsc.c",
        "    if (head - producer->head > producer->position - producer->head || head % 8)\n",
        "    if (head % 8)\n", "spsc_rubbish")
mistake("successor of a dead consumer forgets the doubt", "spsc_setup.c",
        "        if (found->publish_bytes > doubt)\n            doubt = found->publish_bytes;\n", "", "spsc_takeover", "spsc_death",
        "soak:spsc")
mistake("peeked messages not counted as doubtful", "spsc_batch.c",
        "    ring_atomic_store(&consumer->control->head_peeked, end, memory_order_relaxed);\n", "", "spsc_takeover",
        "spsc_death", "crash:spsc peek_batch")
mistake("flag lost on the slow path", "spsc.c", "    consumer->last_flags = flags;\n    if (flags", "    if (flags", "spsc_takeover",
        "crash:spsc recv")
mistake("successor of a dead producer does not walk the records", "spsc_setup.c",
        "                                             .position = end,\n",
        "                                             .position = head,\n", "spsc_roles", "spsc_death")
mistake("a reservation does not forbid other sends", "spsc_hot.h",
        "    producer->limit = position; /* sends any other verb to make_room(), which refuses it */\n", "", "spsc_messages")
mistake("lengths not checked when the ring is found", "spsc_setup.c",
        "        entry.bytes != footprint_of(capacity) || found->max_message != capacity / 4 ||",
        "        found->max_message != capacity / 4 ||", "spsc_setup", "spsc_rubbish", "segment_directory", "fuzz:attach")

# ---- Blocks, heaps, handing over ----

mistake("a bit beyond a class taken for a block of it", "blocks_stock.c",
        "            if (number >= row->end)\n                continue;\n", "", "fuzz:blocks")
mistake("a granule beyond the heap looked at", "heap_pieces.c",
        "    if (granule >= view->granules)\n        return -EUCLEAN;\n    uint64_t word = ring_heap_get(view, ring_heap_first(granule));\n    *piece",
        "    uint64_t word = ring_heap_get(view, ring_heap_first(granule));\n    *piece", "fuzz:heap")
mistake("descriptors beyond the first are not closed", "handover.c",
        "            if (taken >= 0)\n                close(fd);\n            else\n                taken = fd;\n",
        "            taken = fd;\n", "fuzz:handover")

# ---- What ends only when a word comes to rest ----

mistake("a counter raised for as long as it is thrown back", "mpmc_mode.c",
        "    for (unsigned attempt = 0; attempt < ATTEMPTS; attempt++)\n        if ((int64_t)(to", "    for (;;)\n        if ((int64_t)(to",
        "fuzz:mpmc-producer")
mistake("a claim tried for as long as it is lost", "mpmc.c", "    } while (++ask->turns < TURNS);\n", "    } while (true);\n",
        "fuzz:mpmc-consumer")
mistake("a heap's lock that never rests waited for without a time limit", "heap.c",
        "        if (late && timeout_ns == RING_NO_WAIT)\n            return -EAGAIN;\n        if (late &&",
        "        if (late && (word & HOLDER) && timeout_ns == RING_NO_WAIT)\n            return -EAGAIN;\n        if (late && (word & HOLDER) &&",
        "fuzz:heap")
mistake("a number of seats raised for as long as it is thrown back", "seat.c", "lost <= index; lost++)", "; lost++)", "fuzz:heap")
mistake("a message that comes and goes looked for again and again", "broadcast.c",
        "    if (consumer->found == consumer->position) /*", "    if (consumer->fault) /*", "fuzz:broadcast-consumer")

# ---- Waiting ----

mistake("sleeper announces itself without a barrier for the others", "wait.c",
        "    return syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0) == 0;\n", "    return true;\n",
        "model:sleep:NO_MEMBARRIER")
mistake("sleeper does not look again after its announcement", "wait.c",
        "        code = waiter->looks->look_closely(waiter->end, call, &doubts);\n    } while (code",
        "        code = -EAGAIN;\n    } while (code", "model:sleep:NO_SECOND_LOOK", "wait_policies")
mistake("a sleeper takes back what others announced", "wait.c", "    if (!waiter->several && !waiter->door)\n", "",
        "model:sleep:WITHDRAWS_FOR_ALL")
mistake("the bit cleared while more of them may sleep", "wait.c",
        "    if (ring_atomic_load(asleep, memory_order_relaxed) != RING_WAIT_ONE || call(asleep, 1) == 0)\n        ring_wake(asleep);\n",
        "    if (ring_atomic_exchange(asleep, 0, memory_order_acq_rel) != 0)\n        call(asleep, 1);\n",
        "model:sleep:CLEARS_FOR_ONE")
mistake("nobody woken who queued up while the bit was cleared", "wait.c",
        "call(asleep, 1) == 0)\n        ring_wake(asleep);\n",
        "call(asleep, 1) == 0)\n        ring_atomic_store(asleep, 0, memory_order_relaxed);\n",
        "model:sleep:CLEARS_WITHOUT_WAKING")

# ---- MPMC ----

mistake("intent stored after the claim", "mpmc.c",
        """        ring_atomic_store(end->intent, ring_mpmc_intent_word(position, (unsigned)code), memory_order_release);
        said = true;
        /* M3: acq_rel, pairs with M0, M10: who sees the claim sees the intent. */
        if (!atomic_compare_exchange_strong_explicit(end->counter, &position, position + (unsigned)code,
                                                     memory_order_acq_rel, memory_order_acquire)) {
            ask->most = ask->turns < CROWDED ? ask->most : 1;
            continue;
        }
""", """        said = true;
        if (!atomic_compare_exchange_strong_explicit(end->counter, &position, position + (unsigned)code,
                                                     memory_order_acq_rel, memory_order_acquire)) {
            ask->most = ask->turns < CROWDED ? ask->most : 1;
            continue;
        }
        ring_atomic_store(end->intent, ring_mpmc_intent_word(position, (unsigned)code), memory_order_release);
""", "interleave:mpmc", "crash:mpmc send", "model:mpmc:NO_INTENT_BEFORE_CLAIM")
mistake("intent not cleared", "mpmc_private.h",
        "    if (end->sole_mode == RING_MODE_NEVER)\n        ring_atomic_store(end->intent, 0, memory_order_release);\n", "",
        "mpmc_setup", "mpmc_death", "crash:mpmc send", "soak:mpmc")
mistake("intent not cleared on the short path", "mpmc_shared.c",
        "    ring_atomic_store(end->intent, 0, memory_order_release); /* M5 */\n    end->taken++;\n", "    end->taken++;\n",
        "mpmc_setup", "mpmc_death")
mistake("short path: intent stored after the claim", "mpmc_shared.c",
        """    ring_atomic_store(end->intent, ring_mpmc_intent_word(*position, 1), memory_order_release);
    /* M3: acq_rel, pairs with M0, M10: who sees the claim sees the intent. */
    return atomic_compare_exchange_strong_explicit(end->counter, position, *position + 1, memory_order_acq_rel,
                                                   memory_order_acquire);
""",
        """    bool won = atomic_compare_exchange_strong_explicit(end->counter, position, *position + 1, memory_order_acq_rel,
                                                       memory_order_acquire);
    if (won)
        ring_atomic_store(end->intent, ring_mpmc_intent_word(*position, 1), memory_order_release);
    return won;
""", "interleave:mpmc-death", "interleave:mpmc", "crash:mpmc send")
mistake("short path: message published before it is copied", "mpmc_shared.c",
        """        if (length == 8)
            ring_copy_in(slot + 8, message, 8);
        else if (length)
            ring_copy_in(slot + 8, message, length);
        ring_atomic_store(ring_mpmc_word_of(slot), free_word | RING_SLOT_READY | length, memory_order_release); /* M4 */
""",
        """        ring_atomic_store(ring_mpmc_word_of(slot), free_word | RING_SLOT_READY | length, memory_order_release); /* M4 */
        if (length == 8)
            ring_copy_in(slot + 8, message, 8);
        else if (length)
            ring_copy_in(slot + 8, message, length);
""", "interleave:mpmc", "mpmc_traffic")
mistake("short path: length not bounded", "mpmc_shared.c",
        "if (length >= end->shared_limit || length > size ||", "if (length > size ||", "mpmc_rubbish")
mistake("batch: a record like the last one taken into too small an array", "spsc_batch.c",
        "|| count < usual.count)", "|| false)", "spsc_batches", "spsc_model")
mistake("intent cleared before the slot is filled", "mpmc_verbs.c",
        "    put(end, ask.position, message, length);\n    ring_mpmc_finish(end);\n    return 0;\n",
        "    ring_mpmc_finish(end);\n    put(end, ask.position, message, length);\n    return 0;\n", "interleave:mpmc", "crash:mpmc send",
        "model:mpmc:CLEAR_BEFORE_READY")
mistake("a message delivered again without its flag", "mpmc_repair.c", "    ask->flags = RING_REDELIVERED;\n",
        "    ask->flags = 0;\n", "mpmc_death", "crash:mpmc recv")
mistake("redelivery not counted in the word", "mpmc_repair.c",
        "                                                                 : word + RING_SLOT_RETRY;",
        "                                                                 : word;", "mpmc_death",
        "model:mpmc:REDELIVERY_DOES_NOT_COUNT")
mistake("everybody held for dead", "mpmc_repair.c",
        "    return ring_claim_is_held(&seat.segment->witness, seat.lock);\n", "    return seat.lock == 0;\n", "mpmc_waiting",
        "crash:mpmc send", "soak:mpmc")
mistake("everybody held for living", "mpmc_repair.c",
        "    return ring_claim_is_held(&seat.segment->witness, seat.lock);\n", "    return seat.lock != 0;\n", "mpmc_death",
        "crash:mpmc send")
mistake("a position mended without regard to its lap", "mpmc_repair.c",
        "    if (ring_mpmc_laps_ahead(word, position, search->view->shift) != 0)\n        return false;\n", "", "mpmc_death",
        "mpmc_laps", "soak:mpmc")
mistake("a slot filled without release", "mpmc_private.h",
        "    ring_atomic_store(ring_mpmc_slot(&end->view, position), ring_mpmc_free_word(position, end->shift) | word,\n"
        "                      memory_order_release);\n",
        "    ring_atomic_store(ring_mpmc_slot(&end->view, position), ring_mpmc_free_word(position, end->shift) | word,\n"
        "                      memory_order_relaxed);\n", "interleave:mpmc", "thread:orders")
mistake("a slot freed without release", "mpmc.c", "    ring_atomic_store(slot, next_lap, memory_order_release);\n",
        "    ring_atomic_store(slot, next_lap, memory_order_relaxed);\n", "thread:orders")
mistake("length of a peeked MPMC message not bounded when it is looked at again", "mpmc_verbs.c",
        "    if (length > end->max_message)\n        return ring_mpmc_fail(end, -EUCLEAN);\n", "", "mpmc_rubbish",
        "fuzz:mpmc-consumer")
mistake("a reign ended without a barrier for the sole one", "mpmc_mode.c",
        "    if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0) != 0)\n        return -EOPNOTSUPP;\n    int code",
        "    int code", "interleave:mpmc-modes", "soak:mpmc", "model:sole_producers:NO_MEMBARRIER")
mistake("a reign ended without regard to the sole one's intent", "mpmc_mode.c", "    if (intent & RING_INTENT_MOST)\n        *end =",
        "    if (!intent)\n        *end =", "mpmc_traffic", "soak:mpmc")
mistake("what a predecessor in the seat left is forgotten", "mpmc_repair.c",
        "    if (code == 0 && (intent & RING_INTENT_MOST)) {\n", "    if (code == 0 && intent == UINT64_MAX) {\n", "interleave:mpmc-death", "mpmc_death",
        "soak:mpmc")

# ---- Broadcast ----

mistake("a copy not checked for having been overwritten", "broadcast_hot.h",
        "    return ring_atomic_load(view->slot, memory_order_relaxed) == view->word;\n",
        "    return ring_atomic_load(view->slot, memory_order_relaxed) != 0;\n", "broadcast_traffic", "soak:broadcast")
mistake("a slot not marked before it is overwritten", "broadcast_hot.h",
        "    if (RING_LIKELY(position + 1 != producer->limit))\n        ring_broadcast_mark(producer, position + 1, length);\n", "",
        "interleave:overwrite", "broadcast_messages", "broadcast_traffic", "soak:broadcast")
mistake("a broadcast message published without release", "broadcast_hot.h",
        "    ring_atomic_store(slot, word, memory_order_release); /* B3", "    ring_atomic_store(slot, word, memory_order_relaxed); /* B3",
        "interleave:overwrite", "model:overwrite:READY_RELAXED")
mistake("a loss counted one short", "broadcast.c", "    int code = lose(consumer, next - consumer->position);\n",
        "    int code = lose(consumer, next - consumer->position - 1);\n", "broadcast_messages", "soak:broadcast")
mistake("a later lap taken for not yet there", "broadcast.c",
        "    return laps <= RING_BROADCAST_LAP_MASK / 2 ? -EOVERFLOW : -EUCLEAN;\n", "    return -EAGAIN;\n", "broadcast_messages")
mistake("the dead hold a lossless producer back", "broadcast_producer.c",
        "            producer->known_dead[i] = state; /* of this tenure, or a later one that died as well */\n",
        "            continue;\n", "interleave:lossless", "broadcast_death", "soak:broadcast")
mistake("a consumer joins without a look at the producer's limit", "broadcast_join.c",
        "    if ((int64_t)(safe - start->position) <= 0)\n        return;\n",
        "    if ((int64_t)(safe - start->position) != INT64_MAX)\n        return;\n", "interleave:lossless", "broadcast_joining", "soak:broadcast",
        "model:lossless:JOINS_WITHOUT_LOOK_AT_LIMIT")

# ---- Segments, seats, handles ----

mistake("the file's size not compared when attaching", "segment_check.c", "first->bytes != bytes || first->bytes < RING", "first->bytes < RING",
        "segment_refusal")
mistake("a ring announced in the directory before it is made", "allocator_room.c",
        """    memset(address, 0, place->control_bytes);
    place->fill(address, place->options);
    announce(segment, room->index, name, kind, gap.from, class, place);
""", """    announce(segment, room->index, name, kind, gap.from, class, place);
    memset(address, 0, place->control_bytes);
    place->fill(address, place->options);
""", "segment_race", "crash:spsc create")
mistake("a ring freed without asking whether it is observed", "allocator.c",
        "            code = ring_claim_take(alone, &segment->witness, RING_LOCK_PRESENCE + (int64_t)index);\n",
        "            code = ring_claim_take(alone, &segment->witness, RING_LOCK_PRESENCE - 1);\n", "segment_freeing")
mistake("an opener that does not look at the entry again", "allocator.c",
        "    return ring_atomic_load(&ring_directory_entry(segment, index)->word, memory_order_acquire) == word_of(entry);\n",
        "    return segment && word_of(entry) + index != 0;\n", "segment_freeing")
mistake("a lock that goes from hand to hand taken for one that is held", "mpmc_lock.c",
        "        patience->turn_start = now;\n", "", "mpmc_openers")
mistake("only some of the seats asked about where none is free", "seat.c",
        "take_attached(row, row->count, barrier", "take_attached(row, 1, barrier", "mpmc_openers")
mistake("a seat left in good order looks like a death", "seat.c", "as_died ? RING_ROLE_ATTACHED : RING_ROLE_CLOSED",
        "as_died ? RING_ROLE_CLOSED : RING_ROLE_ATTACHED", "spsc_roles")
mistake("a handle used in a child after fork", "guard.c",
        "    if (!ring_atomic_load(&guard->kept, memory_order_relaxed)) /* by G0 */\n        return -ECHILD;\n", "", "mpmc_misuse")
