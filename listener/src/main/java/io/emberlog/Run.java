package io.emberlog;

import java.nio.charset.StandardCharsets;

/** The names of a run: the job's and its own. */
final class Run {

    final String job;
    final String id;

    Run(String job, String id) {
        this.job = job;
        this.id = id;
    }

    String eventsUrl(String baseUrl) {
        return baseUrl + "/job/" + percentEncoded(job) + "/" + percentEncoded(id) + "/events";
    }

    /** RFC 3986: everything but the unreserved characters, so that any name is one path segment. */
    static String percentEncoded(String name) {
        StringBuilder out = new StringBuilder();
        for (byte b : name.getBytes(StandardCharsets.UTF_8)) {
            boolean unreserved = b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9'
                    || b == '-' || b == '.' || b == '_' || b == '~';
            if (unreserved) {
                out.append((char) b);
            } else {
                out.append(String.format("%%%02X", b & 0xff));
            }
        }
        return out.toString();
    }
}
