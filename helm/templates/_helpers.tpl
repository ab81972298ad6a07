{{- define "emberlog.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* At most 40 characters: longest suffixes and a StatefulSet's hash still fit into 63. */}}
{{- define "emberlog.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "emberlog.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* (dict "root" $ "component" NAME) */}}
{{- define "emberlog.selectorLabels" -}}
app.kubernetes.io/name: {{ include "emberlog.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "emberlog.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{ include "emberlog.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: emberlog
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "emberlog.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "emberlog.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "emberlog.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{/* What every pod has. */}}
{{- define "emberlog.podSpec" -}}
serviceAccountName: {{ include "emberlog.serviceAccountName" . }}
automountServiceAccountToken: false
# A Service's variables (EMBERLOG_API_PORT) would be taken for flags.
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "emberlog.placement" -}}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .topologySpreadConstraints }}
topologySpreadConstraints:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{/* What every container has. */}}
{{- define "emberlog.container" -}}
image: {{ include "emberlog.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- with .Values.containerSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* As variables, so that commands run by `kubectl exec` have them too. */}}
{{- define "emberlog.kafkaEnv" -}}
{{- with .Values.kafka -}}
- name: EMBERLOG_KAFKA_BROKERS
  value: {{ required "kafka.brokers is needed: HOST:PORT of your Kafka, several separated by commas" .brokers | quote }}
- name: EMBERLOG_TOPIC
  value: {{ .topic | quote }}
{{- with .dlqTopic }}
- name: EMBERLOG_DLQ_TOPIC
  value: {{ . | quote }}
{{- end }}
{{- with .properties }}
- name: EMBERLOG_KAFKA_PROPERTIES
  value: |-
    {{- range $name, $value := . }}
    {{ $name }}={{ $value }}
    {{- end }}
{{- end }}
{{- if .existingSecret }}
- name: EMBERLOG_KAFKA_CONFIG
  value: {{ printf "/etc/emberlog/kafka/%s" .existingSecretKey | quote }}
{{- end }}
{{- end }}
- name: EMBERLOG_LOG_FORMAT
  value: {{ .Values.logFormat | quote }}
{{- end -}}

{{/* Of those who serve; an empty line if nothing is needed. */}}
{{- define "emberlog.securityEnv" -}}
{{- with .Values.security.tokensSecret }}
- name: EMBERLOG_TOKENS
  value: {{ printf "/etc/emberlog/tokens/%s" $.Values.security.tokensSecretKey | quote }}
{{- end }}
{{- with .Values.security.tlsSecret }}
- name: EMBERLOG_TLS_CERT
  value: /etc/emberlog/tls/tls.crt
- name: EMBERLOG_TLS_KEY
  value: /etc/emberlog/tls/tls.key
{{- end }}
{{- end -}}

{{/* Mounted as folders: only then does Kubernetes exchange the files when a secret changes. */}}
{{- define "emberlog.securityMounts" -}}
{{- if .Values.security.tokensSecret }}
- { name: tokens, mountPath: /etc/emberlog/tokens, readOnly: true }
{{- end }}
{{- if .Values.security.tlsSecret }}
- { name: tls, mountPath: /etc/emberlog/tls, readOnly: true }
{{- end }}
{{- end -}}

{{- define "emberlog.securityVolumes" -}}
{{- with .Values.security.tokensSecret }}
- { name: tokens, secret: { secretName: {{ . }}, defaultMode: 288 } }
{{- end }}
{{- with .Values.security.tlsSecret }}
- { name: tls, secret: { secretName: {{ . }}, defaultMode: 288 } }
{{- end }}
{{- end -}}

{{- define "emberlog.scheme" -}}
{{ ternary "https" "http" (not (empty .Values.security.tlsSecret)) }}
{{- end -}}

{{/* (dict "root" $ "path" PATH "port" NAME) */}}
{{- define "emberlog.httpGet" -}}
httpGet: { path: {{ .path }}, port: {{ .port }}, scheme: {{ include "emberlog.scheme" .root | upper }} }
{{- end -}}

{{/* (dict "root" $ "own" LIST "extra" LIST): those, and the one of Kafka's secret. */}}
{{- define "emberlog.volumes" -}}
{{- $volumes := .own -}}
{{- with .root.Values.kafka.existingSecret -}}
{{- $volumes = append $volumes (dict "name" "kafka" "secret" (dict "secretName" . "defaultMode" 0440)) -}}
{{- end -}}
{{- with concat $volumes .extra }}
volumes:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "emberlog.volumeMounts" -}}
{{- $mounts := .own -}}
{{- if .root.Values.kafka.existingSecret -}}
{{- $mounts = append $mounts (dict "name" "kafka" "mountPath" "/etc/emberlog/kafka" "readOnly" true) -}}
{{- end -}}
{{- with concat $mounts .extra }}
volumeMounts:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* (dict "root" $ "port" NAME). No liveness depends on Kafka; a slow start of a large store is no fault either. */}}
{{- define "emberlog.liveness" -}}
startupProbe:
  {{ include "emberlog.httpGet" (dict "root" .root "path" "/health/live" "port" .port) }}
  periodSeconds: 2
  failureThreshold: 60
livenessProbe:
  {{ include "emberlog.httpGet" (dict "root" .root "path" "/health/live" "port" .port) }}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{- end -}}

{{/* (dict "root" $ "port" PORT "annotations" MAP) */}}
{{- define "emberlog.serviceAnnotations" -}}
{{- $annotations := dict -}}
{{- if .root.Values.metrics.annotations -}}
{{- $annotations = dict "prometheus.io/scrape" "true" "prometheus.io/port" .port "prometheus.io/path" "/metrics" -}}
{{- if .root.Values.security.tlsSecret -}}
{{- $_ := set $annotations "prometheus.io/scheme" "https" -}}
{{- end -}}
{{- end -}}
{{- with merge (dict) .annotations $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* (dict "root" $ "component" NAME "budget" VALUES) */}}
{{- define "emberlog.podDisruptionBudget" -}}
{{- if .budget.enabled }}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "emberlog.fullname" .root }}-{{ .component }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "emberlog.labels" . | nindent 4 }}
spec:
  maxUnavailable: {{ .budget.maxUnavailable }}
  selector:
    matchLabels:
      {{- include "emberlog.selectorLabels" . | nindent 6 }}
{{- end }}
{{- end -}}

{{/* (dict "root" $ "component" NAME "ports" LIST) */}}
{{- define "emberlog.podMonitor" -}}
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata:
  name: {{ include "emberlog.fullname" .root }}-{{ .component }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "emberlog.labels" . | nindent 4 }}
    {{- with .root.Values.metrics.podMonitor.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  selector:
    matchLabels:
      {{- include "emberlog.selectorLabels" . | nindent 6 }}
  podMetricsEndpoints:
    {{- range .ports }}
    - port: {{ .name }}
      path: /metrics
      scheme: {{ include "emberlog.scheme" $.root }}
      interval: {{ $.root.Values.metrics.podMonitor.interval }}
      {{- with $.root.Values.metrics.podMonitor.tokenSecret }}
      authorization:
        credentials: { name: {{ . }}, key: {{ $.root.Values.metrics.podMonitor.tokenSecretKey }} }
      {{- end }}
      {{- with $.root.Values.metrics.podMonitor.tlsConfig }}
      tlsConfig:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      relabelings:
        - targetLabel: job
          replacement: emberlog-{{ .job }}
    {{- end }}
{{- end -}}
