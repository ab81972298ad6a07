package io.emberlog;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.function.Function;
import java.util.zip.GZIPInputStream;

/** A real HTTP server that records what it gets and answers as a test wants. */
final class TestServer implements AutoCloseable {

    final List<Request> requests = new CopyOnWriteArrayList<>();
    /** From a request to {@code "STATUS[|Header:value]..."}. */
    volatile Function<Request, String> answers = request -> "200";
    volatile String errorBody = "{\"type\":\"about:blank\",\"message\":\"explained by the \\\"server\\\"\"}";

    private final HttpServer server;
    private final ExecutorService threads = Executors.newCachedThreadPool();

    TestServer() throws IOException {
        this(0);
    }

    TestServer(int port) throws IOException {
        server = HttpServer.create(new InetSocketAddress("127.0.0.1", port), 0);
        server.createContext("/collect", this::handle);
        server.setExecutor(threads);
        server.start();
    }

    int port() {
        return server.getAddress().getPort();
    }

    String url() {
        return "http://127.0.0.1:" + port();
    }

    /** The sequences that were answered with 200, in the order of their arrival. */
    List<Long> storedSequences() {
        List<Long> sequences = new ArrayList<>();
        for (Request request : requests) {
            if (request.answer.equals("200") && !request.isHeartbeat()) {
                sequences.addAll(request.sequences());
            }
        }
        return sequences;
    }

    private void handle(HttpExchange exchange) throws IOException {
        Request request = new Request(exchange);
        request.answer = answers.apply(request);
        requests.add(request);
        String[] parts = request.answer.split("\\|");
        for (int i = 1; i < parts.length; i++) {
            exchange.getResponseHeaders().add(parts[i].split(":", 2)[0], parts[i].split(":", 2)[1]);
        }
        byte[] body = (parts[0].equals("200") ? "{}" : errorBody).getBytes(StandardCharsets.UTF_8);
        exchange.sendResponseHeaders(Integer.parseInt(parts[0]), body.length);
        exchange.getResponseBody().write(body);
        exchange.close();
    }

    @Override
    public void close() {
        server.stop(0);
        threads.shutdownNow();
    }

    static final class Request {
        final byte[] raw;
        final Map<String, Object> body;
        final String authorization;
        final int clientPort;
        volatile String answer;

        @SuppressWarnings("unchecked")
        Request(HttpExchange exchange) throws IOException {
            raw = readAll(exchange.getRequestBody());
            String text = new String(readAll(new GZIPInputStream(new ByteArrayInputStream(raw))), StandardCharsets.UTF_8);
            body = (Map<String, Object>) TestJson.parse(text);
            authorization = exchange.getRequestHeaders().getFirst("Authorization");
            clientPort = exchange.getRemoteAddress().getPort();
        }

        @SuppressWarnings("unchecked")
        List<Map<String, Object>> messages() {
            return (List<Map<String, Object>>) body.get("messages");
        }

        boolean isHeartbeat() {
            return messages().get(0).get("message_type").equals("heartbeat");
        }

        @SuppressWarnings("unchecked")
        long messageCounter() {
            return ((Map<String, Long>) body.get("counters")).get("message_counter");
        }

        /** By the server's formula. */
        List<Long> sequences() {
            List<Long> sequences = new ArrayList<>();
            for (int i = 0; i < messages().size(); i++) {
                sequences.add(messageCounter() - messages().size() + i);
            }
            return sequences;
        }

        List<String> contents() {
            List<String> contents = new ArrayList<>();
            for (Map<String, Object> message : messages()) {
                contents.add((String) message.get("content"));
            }
            return contents;
        }

        private static byte[] readAll(InputStream in) throws IOException {
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            byte[] buffer = new byte[8192];
            for (int n = in.read(buffer); n >= 0; n = in.read(buffer)) {
                out.write(buffer, 0, n);
            }
            return out.toByteArray();
        }
    }
}
