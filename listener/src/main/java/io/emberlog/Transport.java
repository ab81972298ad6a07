package io.emberlog;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.HttpURLConnection;
import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.util.Timer;
import java.util.TimerTask;
import javax.net.ssl.HttpsURLConnection;

/** Posts bodies to the server over a connection that is kept open. */
final class Transport {

    private static final int LONGEST_ANSWER = 4 * 1024;
    private static final int LONGEST_DRAIN = 64 * 1024;

    private final Settings settings;
    private final Clock clock;
    private final URL url;
    /** Java's own time-outs know neither a peer that reads nothing nor one that answers byte by byte. */
    private final Timer timer = new Timer("emberlog-timer", true);
    private final long longestMillis;

    Transport(Settings settings, Clock clock) throws IOException {
        this.settings = settings;
        this.clock = clock;
        this.url = new URL(settings.url + "/collect");
        this.longestMillis = settings.connectTimeout.toMillis() + 2 * settings.readTimeout.toMillis();
    }

    /** @throws IOException when there is no answer at all */
    Answer post(byte[] body) throws IOException {
        HttpURLConnection connection = (HttpURLConnection) url.openConnection();
        if (settings.sockets != null && connection instanceof HttpsURLConnection) {
            ((HttpsURLConnection) connection).setSSLSocketFactory(settings.sockets);
        }
        connection.setRequestMethod("POST");
        connection.setConnectTimeout((int) settings.connectTimeout.toMillis());
        connection.setReadTimeout((int) settings.readTimeout.toMillis());
        // A redirected POST would become a GET.
        connection.setInstanceFollowRedirects(false);
        connection.setUseCaches(false);
        connection.setDoOutput(true);
        connection.setRequestProperty("Content-Type", "application/json");
        connection.setRequestProperty("Content-Encoding", "gzip");
        connection.setRequestProperty("User-Agent", "emberlog-listener");
        if (!settings.token.isEmpty()) {
            connection.setRequestProperty("Authorization", "Bearer " + settings.token);
        }
        TimerTask limit = new TimerTask() {
            @Override
            public void run() {
                connection.disconnect();
            }
        };
        timer.schedule(limit, longestMillis);
        try {
            // No streaming mode: in it, Java hides the body of a 401 answer.
            try (OutputStream out = connection.getOutputStream()) {
                out.write(body);
            }
            int status = connection.getResponseCode();
            return new Answer(status, retryAfterMillis(connection), Json.messageOf(textOf(connection, status)));
        } catch (RuntimeException e) {
            // How Java's client fails when it is disconnected in the middle of a write.
            throw new IOException("no answer within " + longestMillis + " ms", e);
        } finally {
            limit.cancel();
        }
    }

    /** Reads the answer to its end, since only then Java uses the connection again. */
    private static String textOf(HttpURLConnection connection, int status) throws IOException {
        try (InputStream in = status < 400 ? connection.getInputStream() : connection.getErrorStream()) {
            if (in == null) {
                return "";
            }
            ByteArrayOutputStream text = new ByteArrayOutputStream();
            byte[] buffer = new byte[4 * 1024];
            int total = 0;
            for (int n = in.read(buffer); n >= 0 && total < LONGEST_DRAIN; n = in.read(buffer)) {
                text.write(buffer, 0, Math.max(0, Math.min(n, LONGEST_ANSWER - text.size())));
                total += n;
            }
            return new String(text.toByteArray(), StandardCharsets.UTF_8);
        }
    }

    private long retryAfterMillis(HttpURLConnection connection) {
        String value = connection.getHeaderField("Retry-After");
        if (value == null) {
            return 0;
        }
        if (value.trim().matches("\\d{1,9}")) {
            return Long.parseLong(value.trim()) * 1000;
        }
        long date = connection.getHeaderFieldDate("Retry-After", 0);
        return date == 0 ? 0 : Math.max(0, date - clock.epochMillis());
    }

    static final class Answer {
        final int status;
        /** Zero when the server does not say. */
        final long retryAfterMillis;
        /** One line, possibly empty. */
        final String message;

        Answer(int status, long retryAfterMillis, String message) {
            this.status = status;
            this.retryAfterMillis = retryAfterMillis;
            this.message = message;
        }
    }
}
