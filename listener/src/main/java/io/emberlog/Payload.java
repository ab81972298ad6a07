package io.emberlog;

/** A request's body, ready to be sent as often as it takes: a retry repeats it byte for byte. */
final class Payload {

    /** An estimate of what the objects around the body take. */
    private static final int OVERHEAD = 128;

    /** The sequence of the first event; the others follow without a gap. */
    final long firstSequence;
    final int count;
    final byte[] body;

    Payload(long firstSequence, int count, byte[] body) {
        this.firstSequence = firstSequence;
        this.count = count;
        this.body = body;
    }

    long weight() {
        return body.length + OVERHEAD;
    }
}
