{{/* What a part is selected by; must never change. Call with (dict "root" . "part" "web"). */}}
{{- define "odoo.selector" -}}
app.kubernetes.io/name: odoo
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end }}

{{/* Labels of an object. No version: it would change objects that a release leaves alone. */}}
{{- define "odoo.labels" -}}
{{ include "odoo.selector" . }}
app.kubernetes.io/part-of: odoo-tenant
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end }}

{{- define "odoo.podMetadata" -}}
labels:
  {{- include "odoo.selector" . | nindent 2 }}
  {{- with .root.Values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .root.Values.podAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* What every pod has: Pod Security restricted, no token of the cluster's API. */}}
{{- define "odoo.pod" -}}
serviceAccountName: {{ .Values.serviceAccountName }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .Values.userId }}
  runAsGroup: {{ .Values.userId }}
  fsGroup: {{ .Values.userId }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
volumes:
  - name: tmp
    emptyDir: {}
  - name: filestore
    {{- if .Values.filestore.existingClaim }}
    persistentVolumeClaim: {claimName: {{ .Values.filestore.existingClaim }}}
    {{- else }}
    emptyDir: {}
    {{- end }}
{{- end }}

{{/* What every container has. PG* is what libpq reads, so no password is ever an argument. */}}
{{- define "odoo.container" -}}
image: {{ .Values.images.web }}
imagePullPolicy: IfNotPresent
envFrom:
  - secretRef: {name: {{ .Values.existingSecret }}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
  - {name: filestore, mountPath: /var/lib/odoo}
{{- end }}
