package io.emberlog;

import java.util.Arrays;
import java.util.HashSet;
import java.util.Set;

/** Which events are sent, and which are milestones: worth sending at once, and worth keeping when room is scarce. */
final class EventFilter {

    private static final String SQL = "org.apache.spark.sql.";
    private static final Set<String> MILESTONES = new HashSet<>(Arrays.asList(
            "SparkListenerApplicationStart", "SparkListenerApplicationEnd", "SparkListenerJobStart",
            "SparkListenerJobEnd", "SparkListenerStageSubmitted", "SparkListenerStageCompleted"));

    enum Kind { EXCLUDED, ORDINARY, MILESTONE }

    private final Set<String> excluded;
    private final ClassValue<Kind> kinds = new ClassValue<Kind>() {
        @Override
        protected Kind computeValue(Class<?> type) {
            return kindOf(type.getName());
        }
    };

    /** @param excluded class names, with or without their package */
    EventFilter(Set<String> excluded) {
        this.excluded = excluded;
    }

    Kind kindOf(Class<?> type) {
        return kinds.get(type);
    }

    Kind kindOf(String className) {
        // Not Class.getSimpleName: Java 8 throws on the names of some nested Scala classes.
        String shortName = className.substring(className.lastIndexOf('.') + 1);
        if (excluded.contains(shortName) || excluded.contains(className)) {
            return Kind.EXCLUDED;
        }
        return MILESTONES.contains(shortName) || className.startsWith(SQL) ? Kind.MILESTONE : Kind.ORDINARY;
    }
}
