package io.emberlog;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** The little of JSON that the protocol needs, since the jar has no dependencies. */
final class Json {

    private static final byte[] HEX = "0123456789abcdef".getBytes(StandardCharsets.US_ASCII);
    private static final Pattern MESSAGE = Pattern.compile("\"message\"\\s*:\\s*\"([^\"\\\\]*+(?:\\\\.[^\"\\\\]*+)*+)\"", Pattern.DOTALL);
    private static final int LONGEST_MESSAGE = 500;

    private Json() {
    }

    /** UTF-8. An unpaired surrogate, which UTF-8 cannot hold, becomes a question mark. */
    static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    /** Writes UTF-8 text as a JSON string. All that JSON demands to be escaped is ASCII, so bytes suffice. */
    static void writeString(OutputStream out, byte[] utf8) throws IOException {
        out.write('"');
        int unwritten = 0;
        for (int i = 0; i < utf8.length; i++) {
            byte b = utf8[i];
            if (b == '"' || b == '\\' || b >= 0 && b < 0x20) {
                out.write(utf8, unwritten, i - unwritten);
                writeEscaped(out, b);
                unwritten = i + 1;
            }
        }
        out.write(utf8, unwritten, utf8.length - unwritten);
        out.write('"');
    }

    private static void writeEscaped(OutputStream out, byte b) throws IOException {
        out.write('\\');
        if (b == '"' || b == '\\') {
            out.write(b);
            return;
        }
        out.write('u');
        out.write('0');
        out.write('0');
        out.write(HEX[b >> 4]);
        out.write(HEX[b & 0xf]);
    }

    /**
     * What an error answer has to say, in one line: its {@code message} member (a server that speaks this protocol
     * has exactly one), else the beginning of the text.
     */
    static String messageOf(String body) {
        Matcher matcher = MESSAGE.matcher(body);
        String text = matcher.find() ? unescaped(matcher.group(1)) : body;
        String line = text.replaceAll("[\\p{Cntrl}\\s]+", " ").trim();
        return line.length() <= LONGEST_MESSAGE ? line : line.substring(0, LONGEST_MESSAGE) + "...";
    }

    private static String unescaped(String raw) {
        StringBuilder out = new StringBuilder();
        for (int i = 0; i < raw.length(); i++) {
            char c = raw.charAt(i);
            if (c != '\\' || i + 1 == raw.length()) {
                out.append(c);
                continue;
            }
            char escape = raw.charAt(++i);
            switch (escape) {
                case 'n': case 'r': case 't': case 'b': case 'f':
                    out.append(' ');
                    break;
                case 'u':
                    if (raw.substring(i + 1).matches("(?s)[0-9a-fA-F]{4}.*")) {
                        out.append((char) Integer.parseInt(raw.substring(i + 1, i + 5), 16));
                        i += 4;
                    }
                    break;
                default:
                    out.append(escape);
            }
        }
        return out.toString();
    }
}
