"""What the chart renders, against Kubernetes' own schemas and against what Emberlog needs."""

import re
import unittest

import kubernetes_validate
import kubernetes_validate.utils
import yaml

from chart import CHART, INSTALLATIONS, containers, environment, helm, installation, minimal, named, pod, render, workloads

VERSIONS = [it for it in kubernetes_validate.utils.all_versions() if tuple(map(int, it.split(".")[:2])) >= (1, 25)]
# Of the Prometheus operator; Kubernetes has no schema for them.
FOREIGN = {"PodMonitor"}


def leaves(value):
    if isinstance(value, dict):
        for it in value.values():
            yield from leaves(it)
    elif isinstance(value, list):
        for it in value:
            yield from leaves(it)
    else:
        yield value


class Rendering(unittest.TestCase):
    def test_helm_finds_nothing_to_complain_about(self):
        for file in INSTALLATIONS:
            status, text = helm("lint", "--strict", CHART, "--values", file)
            self.assertEqual(status, 0, f"{file.name}: {text}")

    def test_every_object_is_valid_in_every_version_of_kubernetes(self):
        self.assertGreaterEqual(len(VERSIONS), 10, VERSIONS)
        for file in INSTALLATIONS:
            for it in render("--values", file):
                if it["kind"] in FOREIGN:
                    continue
                for version in VERSIONS:
                    with self.subTest(values=file.name, kind=it["kind"], version=version):
                        kubernetes_validate.validate(it, version, strict=True)

    def test_nothing_is_rendered_as_null(self):
        for file in INSTALLATIONS:
            for it in render("--values", file):
                self.assertNotIn(None, list(leaves(it)), f"{file.name}: {it['kind']}")

    def test_every_value_reaches_an_object(self):
        file = CHART / "ci" / "full-values.yaml"
        text = yaml.safe_dump_all(render("--values", file), width=1 << 20)
        values = [str(it) for it in leaves(yaml.safe_load(file.read_text())) if not isinstance(it, bool)]
        for value in values:
            self.assertGreaterEqual(text.count(value), values.count(value), value)

    def test_a_release_of_any_name_fits(self):
        name = "a-release-name-as-long-as-helm-lets-it-be-1234567890a"
        for it in render(values={"kafka": {"brokers": "k:1"}}, release=name):
            self.assertLessEqual(len(it["metadata"]["name"]), 52 if it["kind"] == "StatefulSet" else 63, it["metadata"]["name"])
            self.assertRegex(it["metadata"]["name"], r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")

    def test_the_versions_are_those_of_the_workspace(self):
        workspace = re.search(r'^version = "(.*)"', (CHART.parent / "Cargo.toml").read_text(), re.M)[1]
        chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
        self.assertEqual(chart["appVersion"], workspace)
        self.assertEqual(containers(minimal())["api"]["image"], f"emberlog:{workspace}")


class Pods(unittest.TestCase):
    def test_no_pod_has_rights_that_it_does_not_need(self):
        for file in INSTALLATIONS:
            for workload in workloads(render("--values", file)):
                spec = pod(workload)
                self.assertIs(spec["automountServiceAccountToken"], False)
                self.assertIs(spec["enableServiceLinks"], False)
                self.assertIs(spec["securityContext"]["runAsNonRoot"], True)
                self.assertEqual(spec["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
                for container in spec["containers"]:
                    context = container["securityContext"]
                    self.assertIs(context["allowPrivilegeEscalation"], False)
                    self.assertIs(context["readOnlyRootFilesystem"], True)
                    self.assertEqual(context["capabilities"], {"drop": ["ALL"]})
                    self.assertIn("memory", container["resources"]["limits"])

    def test_a_halted_materializer_does_not_take_its_api_out_of_service(self):
        found = containers(minimal())
        self.assertNotIn("readinessProbe", found["materializer"])
        self.assertEqual(found["api"]["readinessProbe"]["httpGet"]["path"], "/health/ready")
        self.assertEqual(found["collector"]["readinessProbe"]["httpGet"]["path"], "/health/ready")

    def test_nobody_is_restarted_for_another_s_fault(self):
        found = containers(minimal())
        for name in ("collector", "materializer", "api"):
            for probe in ("startupProbe", "livenessProbe"):
                self.assertEqual(found[name][probe]["httpGet"]["path"], "/health/live")

    def test_every_probe_asks_the_port_that_the_program_listens_on(self):
        for file in INSTALLATIONS:
            for name, container in containers(render("--values", file)).items():
                if name == "init":
                    continue
                ports = {it["name"]: it["containerPort"] for it in container["ports"]}
                [listen] = [it for it in container["args"] if it.startswith("--listen=")]
                for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                    if probe in container:
                        self.assertEqual(listen, f"--listen=0.0.0.0:{ports[container[probe]['httpGet']['port']]}")

    def test_kubernetes_waits_for_an_orderly_stop(self):
        for file in INSTALLATIONS:
            for workload in workloads(render("--values", file)):
                for container in pod(workload)["containers"]:
                    grace = [int(it[len("--shutdown-grace="):-1]) for it in container["args"] if "grace" in it]
                    self.assertLess(max(grace, default=0) + 5, pod(workload).get("terminationGracePeriodSeconds", 30))

    def test_every_volume_that_is_mounted_is_there(self):
        for file in INSTALLATIONS:
            for workload in workloads(render("--values", file)):
                there = {it["name"] for it in pod(workload).get("volumes", [])}
                there |= {it["metadata"]["name"] for it in workload["spec"].get("volumeClaimTemplates", [])}
                mounted = {m["name"] for c in pod(workload)["containers"] for m in c.get("volumeMounts", [])}
                self.assertEqual(mounted, there, f"{file.name}: {workload['kind']}")

    def test_the_api_cannot_write_to_the_store(self):
        [data] = [it for it in containers(minimal())["api"]["volumeMounts"] if it["name"] == "data"]
        self.assertIs(data["readOnly"], True)


class Kafka(unittest.TestCase):
    def test_those_who_speak_to_kafka_are_told_the_same(self):
        found = containers(installation("full"))
        for name in ("init", "collector", "materializer"):
            variables = environment(found[name])
            self.assertEqual(variables["EMBERLOG_KAFKA_BROKERS"], "kafka-0.kafka:9093,kafka-1.kafka:9093,kafka-2.kafka:9093")
            self.assertEqual(variables["EMBERLOG_TOPIC"], "spark-events-test")
            self.assertEqual(variables["EMBERLOG_DLQ_TOPIC"], "spark-events-test-letters")
            self.assertEqual(variables["EMBERLOG_KAFKA_CONFIG"], "/etc/emberlog/kafka/client.properties")
            lines = variables["EMBERLOG_KAFKA_PROPERTIES"].splitlines()
            self.assertIn("security.protocol=SASL_SSL", lines)
            self.assertEqual(len(lines), 4)
        self.assertNotIn("EMBERLOG_KAFKA_BROKERS", environment(found["api"]))

    def test_the_secret_is_mounted_for_those_only(self):
        objects = installation("full")
        for name, container in containers(objects).items():
            mounts = [it for it in container.get("volumeMounts", []) if it["mountPath"] == "/etc/emberlog/kafka"]
            self.assertEqual(len(mounts), 0 if name == "api" else 1, name)
        for workload in workloads(objects):
            [secret] = [it["secret"] for it in pod(workload)["volumes"] if it["name"] == "kafka"]
            self.assertEqual(secret, {"secretName": "emberlog-kafka", "defaultMode": 0o440})

    def test_the_job_has_another_name_when_and_only_when_it_does_something_else(self):
        def job(**values):
            return named(minimal(**values), "Job")["metadata"]["name"]

        self.assertEqual(job(), job(collector={"replicas": 5}, store={"replicas": 3}))
        self.assertNotEqual(job(), job(init={"partitions": 13}))
        self.assertNotEqual(job(), job(image={"tag": "0.2.0"}))


class Security(unittest.TestCase):
    def test_those_who_serve_have_tokens_and_certificates_in_whole_folders(self):
        objects = installation("full")
        expected = {
            "EMBERLOG_TOKENS": "/etc/emberlog/tokens/tokens.txt",
            "EMBERLOG_TLS_CERT": "/etc/emberlog/tls/tls.crt",
            "EMBERLOG_TLS_KEY": "/etc/emberlog/tls/tls.key",
        }
        for name, container in containers(objects).items():
            variables = {k: v for k, v in environment(container).items() if k in expected}
            mounts = [it for it in container.get("volumeMounts", []) if it["name"] in ("tokens", "tls")]
            if name == "init":
                self.assertEqual((variables, mounts), ({}, []))
                continue
            self.assertEqual(variables, expected, name)
            # Kubernetes does not exchange what is mounted by subPath.
            found = {it["name"]: (it["mountPath"], it["readOnly"], "subPath" in it) for it in mounts}
            folders = {it: (f"/etc/emberlog/{it}", True, False) for it in ("tokens", "tls")}
            self.assertEqual(found, folders, name)
        for workload in workloads(objects):
            secrets = {it["name"]: it.get("secret") for it in pod(workload)["volumes"]}
            if workload["kind"] != "Job":
                self.assertEqual(secrets["tokens"], {"secretName": "emberlog-tokens", "defaultMode": 0o440})
                self.assertEqual(secrets["tls"], {"secretName": "emberlog-certificate", "defaultMode": 0o440})

    def test_who_asks_the_pods_speaks_as_they_do(self):
        for objects, scheme in ((installation("full"), "https"), (minimal(), "http")):
            for name, container in containers(objects).items():
                for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                    if probe in container:
                        self.assertEqual(container[probe]["httpGet"]["scheme"], scheme.upper(), name)
        monitors = [it for it in installation("full") if it["kind"] == "PodMonitor"]
        endpoints = [it for monitor in monitors for it in monitor["spec"]["podMetricsEndpoints"]]
        self.assertEqual(len(endpoints), 3)
        for endpoint in endpoints:
            self.assertEqual(endpoint["scheme"], "https")
            credentials = {"name": "emberlog-metrics-token", "key": "bearer"}
            self.assertEqual(endpoint["authorization"], {"credentials": credentials})
            self.assertEqual(endpoint["tlsConfig"]["serverName"], "emberlog.example.org")
        services = [it for it in minimal(security={"tlsSecret": "a"}) if it["kind"] == "Service"]
        for it in services:
            self.assertEqual(it["metadata"]["annotations"]["prometheus.io/scheme"], "https")

    def test_a_prometheus_without_a_token_is_told_so_before_it_is_refused(self):
        values = {
            "kafka": {"brokers": "kafka:9092"},
            "security": {"tokensSecret": "a"},
            "metrics": {"podMonitor": {"enabled": True}},
        }
        status, text = helm("template", "test", CHART, values=values)
        self.assertNotEqual(status, 0)
        self.assertIn("metrics.podMonitor.tokenSecret is needed", text)

    def test_the_notes_warn_of_what_is_open(self):
        def notes(**security):
            values = {"kafka": {"brokers": "kafka:9092"}, "security": security}
            status, text = helm("install", "test", CHART, "--dry-run=client", values=values)
            self.assertEqual(status, 0, text)
            return text[text.index("\nNOTES:"):]

        self.assertIn("WARNING: there are no tokens", notes())
        self.assertIn("WARNING: without security.tlsSecret", notes(tokensSecret="a"))
        self.assertNotIn("WARNING", notes(tokensSecret="a", tlsSecret="b"))


class Services(unittest.TestCase):
    def test_every_service_budget_and_policy_selects_pods_of_one_workload(self):
        for file in INSTALLATIONS:
            objects = render("--values", file)
            for it in objects:
                selector = {
                    "Service": lambda s: s["selector"],
                    "PodDisruptionBudget": lambda s: s["selector"]["matchLabels"],
                    "NetworkPolicy": lambda s: s["podSelector"]["matchLabels"],
                    "PodMonitor": lambda s: s["selector"]["matchLabels"],
                }.get(it["kind"])
                if selector is None:
                    continue
                wanted = selector(it["spec"]).items()
                found = [w for w in workloads(objects) if wanted <= w["spec"]["template"]["metadata"]["labels"].items()]
                self.assertEqual(len(found), 1, f"{file.name}: {it['kind']} {it['metadata']['name']}")
                ports = {p["name"] for c in pod(found[0])["containers"] for p in c.get("ports", [])}
                spec = it["spec"]
                asked = [p["targetPort"] for p in spec.get("ports", [])]
                asked += [p["port"] for p in spec.get("podMetricsEndpoints", [])]
                asked += [p["port"] for rule in spec.get("ingress", []) for p in rule["ports"]]
                self.assertLessEqual(set(asked), ports, it["metadata"]["name"])

    def test_an_ingress_leads_to_a_service(self):
        objects = installation("full")
        services = {it["metadata"]["name"] for it in objects if it["kind"] == "Service"}
        hosts = {}
        for it in (it for it in objects if it["kind"] == "Ingress"):
            [rule] = it["spec"]["rules"]
            hosts[rule["host"]] = rule["http"]["paths"][0]["backend"]["service"]["name"]
        self.assertEqual(set(hosts), {"ingest.example.org", "emberlog.example.org"})
        self.assertLessEqual(set(hosts.values()), services)

    def test_the_notes_name_services_that_are_there(self):
        values = CHART / "ci" / "full-values.yaml"
        status, text = helm("install", "test", CHART, "-n", "spark", "--dry-run=client", "--values", values)
        self.assertEqual(status, 0, text)
        notes = text[text.index("\nNOTES:"):]
        objects = installation("full")
        collector = named(objects, "Service", "-collector")
        url = f"https://{collector['metadata']['name']}.spark:{collector['spec']['ports'][0]['port']}"
        self.assertIn(f"spark.emberlog.url={url}", notes)
        for kind, name in re.findall(r"(deployment|statefulset|service)/([-a-z0-9]+)", notes):
            found = [it for it in objects if it["kind"].lower() == kind and it["metadata"]["name"] == name]
            self.assertEqual(len(found), 1, f"{kind}/{name}")


if __name__ == "__main__":
    unittest.main()
