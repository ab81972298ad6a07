package io.emberlog;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;

/**
 * The events that wait for their payload, and the account of the memory that everything unsent takes.
 *
 * <p>Gives each event its sequence and its time under one lock, so that both follow the order in which the events were
 * seen. An event that finds no room is dropped and counted, and its sequence stays unused: the gap tells the server.
 */
final class Outbox {

    static final int FULL_PAYLOAD = 1_000;
    static final long FULL_PAYLOAD_BYTES = 8L << 20;

    private final Clock clock;
    private final long limit;
    private final ArrayDeque<Message> waiting = new ArrayDeque<>();
    private long waitingBytes;
    private long heldBytes;
    private long nextSequence;
    private long lastGeneratedAt = Long.MIN_VALUE;
    private long dropped;
    private long heldEvents;
    private boolean flushRequested;
    private boolean woken;

    Outbox(Clock clock, long limit) {
        this.clock = clock;
        this.limit = limit;
    }

    /**
     * Takes an event, or drops it. The last eighth of the memory is kept for milestones (jobs, stages, queries, the
     * application's end), which are few and tell the most.
     */
    synchronized void add(byte[] content, boolean milestone) {
        long sequence = nextSequence++;
        // The wall clock may be set back, and the server orders by this time.
        lastGeneratedAt = Math.max(lastGeneratedAt, clock.epochMillis());
        long weight = Message.weightOf(content);
        long room = milestone ? limit : limit - limit / 8;
        if (heldBytes + weight > room) {
            dropped++;
            return;
        }
        heldBytes += weight;
        heldEvents++;
        waitingBytes += weight;
        waiting.add(new Message(sequence, lastGeneratedAt, content));
        if (milestone) {
            requestFlush();
        } else if (isDue(true)) {
            notifyAll();
        }
    }

    /** Leaves the gap that an event makes which cannot be sent. */
    synchronized void skip() {
        nextSequence++;
        dropped++;
    }

    /** Asks for everything that waits to be sent now, in payloads that need not be full. */
    synchronized void requestFlush() {
        if (!flushRequested) {
            flushRequested = true;
            notifyAll();
        }
    }

    /** Ends a wait that is under way or begins next. */
    synchronized void wake() {
        woken = true;
        notifyAll();
    }

    /** Removes the next payload's events: contiguous in their sequence, as the protocol derives it from a count. */
    synchronized List<Message> take() {
        List<Message> batch = new ArrayList<>(Math.min(waiting.size(), FULL_PAYLOAD));
        long bytes = 0;
        while (!waiting.isEmpty() && batch.size() < FULL_PAYLOAD) {
            Message next = waiting.peek();
            boolean gap = !batch.isEmpty() && next.sequence != batch.get(batch.size() - 1).sequence + 1;
            if (gap || !batch.isEmpty() && bytes + next.weight() > FULL_PAYLOAD_BYTES) {
                break;
            }
            bytes += next.weight();
            batch.add(waiting.remove());
        }
        waitingBytes -= bytes;
        if (waiting.isEmpty()) {
            flushRequested = false;
        }
        return batch;
    }

    /** Events have become a payload, which takes the place of their weight. */
    synchronized void repacked(long bytesBefore, long bytesAfter) {
        heldBytes += bytesAfter - bytesBefore;
    }

    /** Events have left for the server. */
    synchronized void sent(Payload payload) {
        heldBytes -= payload.weight();
        heldEvents -= payload.count;
    }

    /** Events are given up. */
    synchronized void discarded(Payload payload) {
        sent(payload);
        dropped += payload.count;
    }

    /** How many events were dropped so far, for whatever reason. */
    synchronized long dropped() {
        return dropped;
    }

    /** How many events are neither sent nor dropped. */
    synchronized long heldEvents() {
        return heldEvents;
    }

    synchronized long heldBytes() {
        return heldBytes;
    }

    synchronized boolean isEmpty() {
        return waiting.isEmpty();
    }

    /** Whether there is a reason to send now. A patient caller waits for full payloads. */
    synchronized boolean isDue(boolean patient) {
        return waiting.size() >= FULL_PAYLOAD || waitingBytes >= FULL_PAYLOAD_BYTES || flushRequested && !patient;
    }

    /** Returns when there is a reason to send, on {@link #wake} and when the time is over. */
    synchronized void await(long nanos, boolean patient) throws InterruptedException {
        long end = System.nanoTime() + nanos;
        long left = nanos;
        while (!woken && !isDue(patient) && left > 0) {
            // Rounded up: rounding down would spin through the last millisecond.
            wait(left / 1_000_000 + 1);
            left = end - System.nanoTime();
        }
        woken = false;
    }
}
