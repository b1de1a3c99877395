{{/* What a part is selected by; must never change. Call with (dict "root" . "part" "serve"). */}}
{{- define "seawall.selector" -}}
app.kubernetes.io/name: seawall
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end }}

{{- define "seawall.labels" -}}
{{ include "seawall.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end }}

{{- define "seawall.podMetadata" -}}
labels:
  {{- include "seawall.selector" . | nindent 2 }}
  {{- if and (eq .part "work") .root.Values.work.workloadIdentity }}
  azure.workload.identity/use: "true"
  {{- end }}
{{- with .root.Values.podAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* What every pod has: Pod Security restricted. */}}
{{- define "seawall.pod" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "seawall.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "seawall.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: topology.kubernetes.io/zone
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "seawall.selector" . | nindent 8 }}
{{- end }}

{{/* One variable from the database's Secret: (dict "root" . "variable" "SEAWALL_DATABASE_URL" "key" "owner"). */}}
{{- define "seawall.databaseVariable" -}}
- name: {{ .variable }}
  valueFrom:
    secretKeyRef: {name: {{ .root.Values.database.existingSecret }}, key: {{ .key }}}
{{- end }}

{{/* What every long-running part is told: (dict "root" . "part" "work"). */}}
{{- define "seawall.environment" -}}
- {name: SEAWALL_NATS_URL, value: {{ .root.Values.nats.url | quote }}}
- {name: SEAWALL_NATS_REPLICAS, value: {{ .root.Values.nats.replicas | quote }}}
{{- if include "seawall.readsSecrets" . }}
- {name: SEAWALL_SECRETS, value: /etc/seawall/secrets}
{{- end }}
{{- if include "seawall.asksMetrics" . }}
- {name: SEAWALL_METRICS_SOURCES, value: /etc/seawall/metrics/sources.yaml}
{{- end }}
{{- if include "seawall.seesOutside" . }}
- {name: SEAWALL_AUDIT_ANCHORS, value: /var/lib/seawall/outside/audit-heads.ndjson}
{{- if eq .part "work" }}
- {name: SEAWALL_BREAKGLASS, value: /var/lib/seawall/outside/breakglass}
{{- end }}
{{- end }}
{{- if include "seawall.readsHeads" . }}
- {name: SEAWALL_AUDIT_ANCHORS_CONTAINER, value: {{ .root.Values.outside.anchors | quote }}}
{{- if .root.Values.outside.anchorsSas }}
- {name: SEAWALL_AUDIT_ANCHORS_SAS, value: {{ .root.Values.outside.anchorsSas | quote }}}
{{- end }}
{{- end }}
{{- if and .root.Values.outside.auditRetention (eq .part "work") }}
- {name: SEAWALL_AUDIT_RETENTION, value: {{ .root.Values.outside.auditRetention | quote }}}
{{- end }}
{{- if and .root.Values.outside.container (eq .part "work") }}
- {name: SEAWALL_BREAKGLASS_CONTAINER, value: {{ .root.Values.outside.container | quote }}}
{{- if .root.Values.outside.sas }}
- {name: SEAWALL_BREAKGLASS_SAS, value: {{ .root.Values.outside.sas | quote }}}
{{- end }}
{{- end }}
{{- if .root.Values.nats.existingSecret }}
- {name: SEAWALL_NATS_CREDENTIALS, value: /etc/seawall/nats/{{ .part }}}
{{- end }}
- {name: SEAWALL_FLEET_NAME, value: {{ .root.Values.fleetName | quote }}}
- {name: SEAWALL_LOG_FORMAT, value: {{ .root.Values.logFormat }}}
- {name: SEAWALL_OTLP_ENDPOINT, value: {{ .root.Values.otlpEndpoint | quote }}}
- {name: SEAWALL_REQUIRE_SYNCHRONOUS_STANDBY, value: {{ .root.Values.database.requireSynchronousStandby | quote }}}
{{- if .root.Values.clusters.existingSecret }}
- {name: SEAWALL_CLUSTERS, value: /etc/seawall/clusters/clusters.yaml}
{{- end }}
{{- end }}

{{/* The API checks signatures of events and answers, the relay signs webhooks; workers sign what gates ask endpoints; workers and the API sign in at metric sources. */}}
{{- define "seawall.readsSecrets" -}}
{{- if eq .part "work" }}{{ .root.Values.work.existingSecret }}{{ else }}{{ .root.Values.secrets.existingSecret }}{{ end }}
{{- end }}

{{/* Workers look at gates, the API draws timelines. */}}
{{- define "seawall.asksMetrics" -}}
{{- if and .root.Values.metrics.existingSecret (ne .part "relay") }}yes{{ end }}
{{- end }}

{{/* Workers write there; the API reads the audit chain's heads. */}}
{{- define "seawall.readsHeads" -}}
{{- $o := .root.Values.outside }}
{{- if and $o.anchors (or (eq .part "work") (and (eq .part "serve") $o.anchorsSas (include "seawall.readsSecrets" .))) }}yes{{ end }}
{{- end }}

{{- define "seawall.seesOutside" -}}
{{- if and .root.Values.outside.existingClaim (ne .part "relay") }}yes{{ end }}
{{- end }}

{{- define "seawall.volumes" -}}
- name: tmp
  emptyDir: {}
{{- if .root.Values.nats.existingSecret }}
- name: nats
  secret:
    secretName: {{ .root.Values.nats.existingSecret }}
    defaultMode: 0440
    items: [{key: {{ .part }}, path: {{ .part }}}]
{{- end }}
{{- if .root.Values.clusters.existingSecret }}
- name: clusters
  secret: {secretName: {{ .root.Values.clusters.existingSecret }}, defaultMode: 0440}
{{- end }}
{{- if include "seawall.readsSecrets" . }}
- name: secrets
  secret: {secretName: {{ include "seawall.readsSecrets" . }}, defaultMode: 0440}
{{- end }}
{{- if include "seawall.asksMetrics" . }}
- name: metrics
  secret: {secretName: {{ .root.Values.metrics.existingSecret }}, defaultMode: 0440}
{{- end }}
{{- if include "seawall.seesOutside" . }}
- name: outside
  persistentVolumeClaim: {claimName: {{ .root.Values.outside.existingClaim }}}
{{- end }}
{{- end }}

{{- define "seawall.mounts" -}}
- {name: tmp, mountPath: /tmp}
{{- if .root.Values.nats.existingSecret }}
- {name: nats, mountPath: /etc/seawall/nats, readOnly: true}
{{- end }}
{{- if .root.Values.clusters.existingSecret }}
- {name: clusters, mountPath: /etc/seawall/clusters, readOnly: true}
{{- end }}
{{- if include "seawall.readsSecrets" . }}
- {name: secrets, mountPath: /etc/seawall/secrets, readOnly: true}
{{- end }}
{{- if include "seawall.asksMetrics" . }}
- {name: metrics, mountPath: /etc/seawall/metrics, readOnly: true}
{{- end }}
{{- if include "seawall.seesOutside" . }}
- {name: outside, mountPath: /var/lib/seawall/outside, readOnly: {{ ne .part "work" }}}
{{- end }}
{{- end }}

{{/* A part that runs for ever. Call with (dict "root" . "part" "work" "values" .Values.work "account" "seawall-worker"
     "port" 9090 "command" (list ...) "environment" (extra variables as text)). */}}
{{- define "seawall.deployment" -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .root.Release.Name }}-{{ .part }}
  labels: {{- include "seawall.labels" . | nindent 4 }}
spec:
  replicas: {{ .values.replicas }}
  revisionHistoryLimit: 3
  strategy:
    type: RollingUpdate
    rollingUpdate: {maxSurge: 1, maxUnavailable: 0}
  selector:
    matchLabels: {{- include "seawall.selector" . | nindent 6 }}
  template:
    metadata: {{- include "seawall.podMetadata" . | nindent 6 }}
    spec:
      {{- include "seawall.pod" .root | nindent 6 }}
      serviceAccountName: {{ .account }}
      automountServiceAccountToken: {{ .token }}
      # Long enough to let go of leases and finish what is in flight.
      terminationGracePeriodSeconds: 60
      {{- include "seawall.spread" . | nindent 6 }}
      volumes: {{- include "seawall.volumes" . | nindent 8 }}
      containers:
        - name: {{ .part }}
          image: {{ .root.Values.image }}
          imagePullPolicy: IfNotPresent
          command: [seawall]
          args: {{- toJson .command | nindent 12 }}
          env:
            {{- .environment | nindent 12 }}
            {{- include "seawall.environment" . | nindent 12 }}
          ports:
            - {name: http, containerPort: {{ .port }}}
          livenessProbe:
            httpGet: {path: /livez, port: http}
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 6
          readinessProbe:
            httpGet: {path: /readyz, port: http}
            periodSeconds: 5
            timeoutSeconds: 5
          securityContext: {{- include "seawall.containerSecurity" . | nindent 12 }}
          volumeMounts: {{- include "seawall.mounts" . | nindent 12 }}
          resources: {{- toYaml .values.resources | nindent 12 }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ .root.Release.Name }}-{{ .part }}
  labels: {{- include "seawall.labels" . | nindent 4 }}
spec:
  maxUnavailable: 1
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels: {{- include "seawall.selector" . | nindent 6 }}
{{- end }}
