package io.emberlog;

import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** What the listener says in the driver's log. */
interface DriverLog {

    void info(String line);

    void warn(String line);

    /** Spark's own logging. */
    final class Slf4j implements DriverLog {
        private final Logger logger = LoggerFactory.getLogger(EmberlogListener.class);

        @Override
        public void info(String line) {
            logger.info(line);
        }

        @Override
        public void warn(String line) {
            logger.warn(line);
        }

        /** A line that a user needs even where the level hides information, as the Spark shells do. */
        void announce(String line) {
            if (logger.isInfoEnabled()) {
                logger.info(line);
            } else {
                System.err.println(line);
            }
        }
    }
}
