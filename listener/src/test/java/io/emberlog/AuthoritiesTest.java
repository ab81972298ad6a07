package io.emberlog;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.net.httpserver.HttpsConfigurator;
import com.sun.net.httpserver.HttpsServer;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.time.Duration;
import java.util.Collections;
import java.util.HashSet;
import java.util.Set;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLHandshakeException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class AuthoritiesTest {

    private static final String PASSWORD = "changeit";

    @TempDir
    Path folder;

    @Test
    void a_certificate_of_the_named_authority_is_trusted_and_no_other() throws Exception {
        makeCertificate("server");
        makeCertificate("other");
        Set<Integer> ports = Collections.synchronizedSet(new HashSet<>());
        HttpsServer server = HttpsServer.create(new InetSocketAddress("127.0.0.1", 0), 0);
        server.setHttpsConfigurator(new HttpsConfigurator(contextOf("server")));
        server.createContext("/collect", exchange -> {
            ports.add(exchange.getRemoteAddress().getPort());
            while (exchange.getRequestBody().read() >= 0) {
                // Only read bodies let the connection be used again.
            }
            exchange.sendResponseHeaders(200, 2);
            exchange.getResponseBody().write("{}".getBytes());
            exchange.close();
        });
        server.start();
        try {
            Settings settings = new Settings();
            settings.url = "https://127.0.0.1:" + server.getAddress().getPort();
            // More than a machine that stands still for seconds takes.
            settings.connectTimeout = Duration.ofMinutes(2);
            settings.readTimeout = Duration.ofMinutes(2);
            assertThrows(SSLHandshakeException.class, () -> new Transport(settings, Clock.SYSTEM).post(new byte[1]));
            settings.sockets = Authorities.trusting(folder.resolve("other.pem").toString());
            assertThrows(SSLHandshakeException.class, () -> new Transport(settings, Clock.SYSTEM).post(new byte[1]));
            settings.sockets = Authorities.trusting(folder.resolve("server.pem").toString());
            Transport transport = new Transport(settings, Clock.SYSTEM);
            // Java gives an idle one up after five seconds, for which a machine may stand still.
            for (int attempt = 0; attempt < 5 && ports.size() != 1; attempt++) {
                ports.clear();
                for (int i = 0; i < 3; i++) {
                    assertEquals(200, transport.post(new byte[1]).status);
                }
            }
            assertEquals(1, ports.size(), "the connection is used again");
        } finally {
            server.stop(0);
        }
    }

    @Test
    void a_file_that_cannot_be_used_is_named_with_its_property() throws IOException {
        Path empty = Files.createFile(folder.resolve("empty.pem"));
        Path nonsense = Files.write(folder.resolve("nonsense.pem"), "nonsense".getBytes());
        for (Path file : new Path[] {folder.resolve("missing.pem"), empty, nonsense}) {
            IllegalArgumentException e =
                    assertThrows(IllegalArgumentException.class, () -> Authorities.trusting(file.toString()));
            assertTrue(e.getMessage().contains("spark.emberlog.caFile") && e.getMessage().contains(file.toString()),
                    e.getMessage());
        }
    }

    private void makeCertificate(String name) throws IOException, InterruptedException {
        String store = folder.resolve(name + ".p12").toString();
        keytool("-genkeypair", "-keyalg", "EC", "-dname", "CN=" + name, "-ext", "SAN=IP:127.0.0.1", "-validity", "2",
                "-alias", name, "-storetype", "PKCS12", "-keystore", store, "-storepass", PASSWORD);
        keytool("-exportcert", "-rfc", "-alias", name, "-file", folder.resolve(name + ".pem").toString(),
                "-keystore", store, "-storepass", PASSWORD);
    }

    private static void keytool(String... arguments) throws IOException, InterruptedException {
        String[] command = new String[arguments.length + 1];
        command[0] = System.getProperty("java.home") + File.separator + "bin" + File.separator + "keytool";
        System.arraycopy(arguments, 0, command, 1, arguments.length);
        assertEquals(0, new ProcessBuilder(command).inheritIO().start().waitFor());
    }

    private SSLContext contextOf(String name) throws GeneralSecurityException, IOException {
        KeyStore store = KeyStore.getInstance("PKCS12");
        try (InputStream in = Files.newInputStream(folder.resolve(name + ".p12"))) {
            store.load(in, PASSWORD.toCharArray());
        }
        KeyManagerFactory keys = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        keys.init(store, PASSWORD.toCharArray());
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(keys.getKeyManagers(), null, null);
        return context;
    }
}
