package io.emberlog;

/** The time, replaceable so that tests need not wait. */
interface Clock {

    Clock SYSTEM = new Clock() {
        @Override
        public long epochMillis() {
            return System.currentTimeMillis();
        }

        @Override
        public long nanos() {
            return System.nanoTime();
        }
    };

    /** Wall clock; may jump in either direction. */
    long epochMillis();

    /** Monotonic, from an arbitrary origin. */
    long nanos();
}
