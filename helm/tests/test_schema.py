"""What values.schema.json refuses."""

import unittest

import yaml

from chart import CHART, helm

REFUSED = [
    ({"replicas": 3}, "replicas"),
    ({"collector": {"replicas": 0}}, "/collector/replicas"),
    ({"collector": {"replica": 2}}, "replica"),
    ({"collector": {"maxInFlight": "lots"}}, "/collector/maxInFlight"),
    ({"collector": {"extraEnv": {"RUST_LOG": "debug"}}}, "/collector/extraEnv"),
    ({"collector": {"service": {"port": 70000}}}, "/collector/service/port"),
    ({"store": {"replicas": "two"}}, "/store/replicas"),
    ({"store": {"persistence": {"size": "20 GB"}}}, "/store/persistence/size"),
    ({"store": {"api": {"service": {"sessionAffinity": "Cookie"}}}}, "/store/api/service/sessionAffinity"),
    ({"kafka": {"brokers": "kafka"}}, "/kafka/brokers"),
    ({"kafka": {"brokers": ["kafka:9092"]}}, "/kafka/brokers"),
    ({"kafka": {"topic": "spark events"}}, "/kafka/topic"),
    ({"kafka": {"properties": {"linger.ms": 5}}}, "linger.ms"),
    ({"kafka": {"properties": {"sasl.password": "hunter2"}}}, "sasl.password"),
    ({"init": {"retention": "for ever"}}, "/init/retention"),
    ({"retention": {"age": "a year"}}, "/retention/age"),
    ({"retention": {"runs": "-1"}}, "/retention/runs"),
    ({"init": {"partitions": 0}}, "/init/partitions"),
    ({"image": {"pullPolicy": "Sometimes"}}, "/image/pullPolicy"),
    ({"image": {"digest": "sha256:12"}}, "/image/digest"),
    ({"security": {"tokens": "a"}}, "tokens"),
    ({"security": {"tlsSecret": "A secret"}}, "/security/tlsSecret"),
    ({"security": {"tokensSecretKey": ""}}, "/security/tokensSecretKey"),
    ({"lostAfter": 120}, "/lostAfter"),
    ({"logFormat": "xml"}, "/logFormat"),
    ({"serviceAccount": {"annotations": {"a": 1}}}, "/serviceAccount/annotations"),
]


class Schema(unittest.TestCase):
    def test_what_is_wrong_is_refused_and_named(self):
        for values, place in REFUSED:
            values = {**values, "kafka": {"brokers": "kafka:9092", **values.get("kafka", {})}}
            status, text = helm("template", "test", CHART, values=values)
            with self.subTest(values=values):
                self.assertNotEqual(status, 0)
                self.assertIn(place.replace("/", "."), text.replace("/", "."))

    def test_brokers_are_needed(self):
        status, text = helm("template", "test", CHART)
        self.assertNotEqual(status, 0)
        self.assertIn("kafka.brokers is needed", text)

    def test_every_value_is_in_the_schema_and_back(self):
        schema = yaml.safe_load((CHART / "values.schema.json").read_text())

        def compare(values, part, path):
            if not isinstance(values, dict) or part.get("additionalProperties") is not False:
                return
            self.assertEqual(set(values), set(part["properties"]) - {"global"}, path)
            for name, value in values.items():
                compare(value, part["properties"][name], f"{path}.{name}")

        defaults = yaml.safe_load((CHART / "values.yaml").read_text())
        # `$ref`s lead to parts whose members are optional.
        compare(defaults, schema, "values")


if __name__ == "__main__":
    unittest.main()
