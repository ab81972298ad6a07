package io.emberlog;

import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;

import java.io.IOException;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import org.junit.jupiter.api.Test;

class TransportTest {

    private final Settings settings = new Settings();

    @Test
    void a_server_that_accepts_and_never_reads_is_given_up() throws IOException {
        try (ServerSocket server = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
            assertGivenUp(server, new byte[64 << 20]);
        }
    }

    @Test
    void a_server_that_answers_byte_by_byte_is_given_up() throws IOException {
        try (ServerSocket server = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
            Thread dripping = new Thread(() -> drip(server));
            dripping.setDaemon(true);
            dripping.start();
            assertGivenUp(server, new byte[10]);
        }
    }

    private void assertGivenUp(ServerSocket server, byte[] body) throws IOException {
        settings.url = "http://127.0.0.1:" + server.getLocalPort();
        settings.connectTimeout = Duration.ofMillis(300);
        settings.readTimeout = Duration.ofMillis(300);
        Transport transport = new Transport(settings, Clock.SYSTEM);
        assertTimeoutPreemptively(Duration.ofMinutes(2), () -> assertThrows(IOException.class, () -> transport.post(body)));
    }

    private static void drip(ServerSocket server) {
        try (Socket socket = server.accept(); OutputStream out = socket.getOutputStream()) {
            out.write("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n".getBytes(StandardCharsets.US_ASCII));
            while (true) {
                out.write('x');
                out.flush();
                Thread.sleep(50);
            }
        } catch (IOException | InterruptedException e) {
            // The client has hung up, as it should.
        }
    }
}
