package io.emberlog;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** A strict JSON parser, written from RFC 8259 and not from the code under test. */
final class TestJson {

    private final String text;
    private int at;

    private TestJson(String text) {
        this.text = text;
    }

    static Object parse(String text) {
        TestJson json = new TestJson(text);
        Object value = json.value();
        json.blanks();
        json.check(json.at == text.length(), "text behind the value");
        return value;
    }

    private Object value() {
        blanks();
        switch (text.charAt(at)) {
            case '{':
                return object();
            case '[':
                return array();
            case '"':
                return string();
            default:
                int begin = at;
                while (at < text.length() && "-0123456789".indexOf(text.charAt(at)) >= 0) {
                    at++;
                }
                return Long.parseLong(text.substring(begin, at));
        }
    }

    private Map<String, Object> object() {
        Map<String, Object> members = new LinkedHashMap<>();
        at++;
        do {
            blanks();
            String name = string();
            expect(':');
            check(members.put(name, value()) == null, "a member twice");
        } while (next('}'));
        return members;
    }

    private List<Object> array() {
        List<Object> elements = new ArrayList<>();
        at++;
        do {
            elements.add(value());
        } while (next(']'));
        return elements;
    }

    private String string() {
        StringBuilder out = new StringBuilder();
        expect('"');
        for (char c = text.charAt(at++); c != '"'; c = text.charAt(at++)) {
            check(c >= 0x20, "a raw control character");
            out.append(c == '\\' ? escaped() : c);
        }
        return out.toString();
    }

    private char escaped() {
        char c = text.charAt(at++);
        if (c == 'u') {
            at += 4;
            return (char) Integer.parseInt(text.substring(at - 4, at), 16);
        }
        int known = "\"\\/bfnrt".indexOf(c);
        check(known >= 0, "an unknown escape");
        return "\"\\/\b\f\n\r\t".charAt(known);
    }

    private boolean next(char end) {
        blanks();
        char c = text.charAt(at++);
        check(c == ',' || c == end, "neither a comma nor the end");
        return c == ',';
    }

    private void expect(char c) {
        blanks();
        check(text.charAt(at++) == c, "expected " + c);
    }

    private void blanks() {
        while (at < text.length() && " \t\r\n".indexOf(text.charAt(at)) >= 0) {
            at++;
        }
    }

    private void check(boolean good, String what) {
        if (!good) {
            throw new IllegalArgumentException(what + " at " + at + " of " + text);
        }
    }
}
