package io.emberlog;

/** One Spark event, numbered when it happened. */
final class Message {

    /** An estimate of what the objects around the content take. */
    private static final int OVERHEAD = 64;

    final long sequence;
    final long generatedAt;
    final byte[] content;

    Message(long sequence, long generatedAt, byte[] content) {
        this.sequence = sequence;
        this.generatedAt = generatedAt;
        this.content = content;
    }

    long weight() {
        return weightOf(content);
    }

    static long weightOf(byte[] content) {
        return content.length + OVERHEAD;
    }
}
