{{- define "dossier.fullname" -}}
{{- .Values.fullnameOverride | default .Release.Name | trunc 48 | trimSuffix "-" -}}
{{- end -}}

{{/* Labels of everything. */}}
{{- define "dossier.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{ include "dossier.selector" . }}
{{- end -}}

{{/* What all pods of this release have, and no others: the pods of NATS are another chart's. */}}
{{- define "dossier.selector" -}}
app.kubernetes.io/name: dossier
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* The pods of NATS, where this chart brings it. */}}
{{- define "dossier.natsSelector" -}}
app.kubernetes.io/name: nats
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: nats
{{- end -}}

{{- define "dossier.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "dossier.coordinatorImage" -}}
{{- if .Values.coordinator.imageTag -}}
{{ .Values.image.repository }}:{{ .Values.coordinator.imageTag }}
{{- else -}}
{{ include "dossier.image" . }}
{{- end -}}
{{- end -}}

{{/* The name of NATS's headless Service, which gives each of its pods a name. */}}
{{- define "dossier.natsHost" -}}
{{- $nats := .Values.nats.fullnameOverride | default (printf "%s-nats" .Release.Name) -}}
{{- $domain := .Values.nats.config.cluster.routeURLs.k8sClusterDomain | default "cluster.local" -}}
{{- printf "%s-headless.%s.svc.%s" $nats .Release.Namespace $domain -}}
{{- end -}}

{{/* Where NATS is: each node by the name in its certificate. */}}
{{- define "dossier.natsUrls" -}}
{{- if .Values.nats.enabled -}}
{{- $urls := list -}}
{{- $nats := .Values.nats.fullnameOverride | default (printf "%s-nats" .Release.Name) -}}
{{- $scheme := ternary "tls" "nats" .Values.nats.config.nats.tls.enabled -}}
{{- $nodes := ternary (.Values.nats.config.cluster.replicas | int) 1 .Values.nats.config.cluster.enabled -}}
{{- range $n := until $nodes -}}
{{- $urls = append $urls (printf "%s://%s-%d.%s:4222" $scheme $nats $n (include "dossier.natsHost" $)) -}}
{{- end -}}
{{- join "," $urls -}}
{{- else -}}
{{- if not .Values.connection.urls -}}{{ fail "connection.urls: say where NATS is, or set nats.enabled." }}{{- end -}}
{{- join "," .Values.connection.urls -}}
{{- end -}}
{{- end -}}

{{/* Who runs the processes, and what they may not do. */}}
{{- define "dossier.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "dossier.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* What every process is told. Takes (dict "root" $ "user" "planner" "own" .Values.planner). */}}
{{- define "dossier.env" -}}
{{- $root := .root -}}
{{- $known := dict "DOSSIER_NATS_URL" (include "dossier.natsUrls" $root) "DOSSIER_REPLICAS" $root.Values.connection.replicas -}}
{{- if $root.Values.connection.secretPrefix -}}
{{- $_ := set $known "DOSSIER_NATS_SEED" "/etc/dossier/nats/seed.nk" -}}
{{- $_ := set $known "DOSSIER_NATS_CA" "/etc/dossier/nats/ca.pem" -}}
{{- end -}}
{{- if $root.Values.telemetry.endpoint -}}
{{- $_ := set $known "OTEL_EXPORTER_OTLP_ENDPOINT" $root.Values.telemetry.endpoint -}}
{{- end -}}
{{- $settings := merge (dict) .own.settings .more $root.Values.settings $known -}}
{{- range $name := keys $settings | sortAlpha }}
- name: {{ $name }}
  value: {{ get $settings $name | toString | quote }}
{{- end }}
{{- $secrets := merge (dict) (.own.secrets | default dict) (.moreSecrets | default dict) -}}
{{- if and $root.Values.telemetry.endpoint $root.Values.telemetry.secret.name -}}
{{- $_ := set $secrets "OTEL_EXPORTER_OTLP_HEADERS" $root.Values.telemetry.secret -}}
{{- end -}}
{{- range $name := keys $secrets | sortAlpha }}
- name: {{ $name }}
  valueFrom:
    secretKeyRef: {{ pick (get $secrets $name) "name" "key" | toJson }}
{{- end }}
{{- end -}}

{{/* The model's endpoint and key, for those who ask it. */}}
{{- define "dossier.modelSettings" -}}
{{- if .Values.model.baseUrl -}}{{ dict "OPENAI_BASE_URL" .Values.model.baseUrl | toJson }}{{- else -}}{}{{- end -}}
{{- end -}}

{{- define "dossier.modelSecrets" -}}
{{- if .Values.model.secret.name -}}{{ dict "OPENAI_API_KEY" .Values.model.secret | toJson }}{{- else -}}{}{{- end -}}
{{- end -}}

{{/* What every pod has in common. Takes (dict "root" $ "component" "planner" "own" .Values.planner). */}}
{{- define "dossier.podSettings" -}}
{{- $root := .root -}}
serviceAccountName: {{ include "dossier.fullname" $root }}
automountServiceAccountToken: false
# A Service named like the release would have every pod find variables such as DOSSIER_API_PORT=tcp://…
enableServiceLinks: false
terminationGracePeriodSeconds: {{ $root.Values.terminationGracePeriodSeconds }}
securityContext:
  {{- include "dossier.podSecurity" $root | nindent 2 }}
{{- with $root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "dossier.selector" $root | nindent 8 }}
        app.kubernetes.io/component: {{ .component }}
{{- with .own.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .own.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The places that a process may write to, and its key to NATS. */}}
{{- define "dossier.mounts" -}}
- {name: tmp, mountPath: /tmp}
- {name: data, mountPath: /data}
{{- if .root.Values.connection.secretPrefix }}
- {name: nats, mountPath: /etc/dossier/nats, readOnly: true}
{{- end }}
{{- with .own.volumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Takes also "keeps": whether its data folder is a volume of its own. */}}
{{- define "dossier.volumes" -}}
- name: tmp
  emptyDir: {sizeLimit: 1Gi}
{{- if not .keeps }}
- name: data
  emptyDir: {sizeLimit: 5Gi}
{{- end }}
{{- if .root.Values.connection.secretPrefix }}
- name: nats
  secret:
    secretName: {{ .root.Values.connection.secretPrefix }}-{{ .component }}
    defaultMode: 0440
    items:
      - {key: seed.nk, path: seed.nk}
      - {key: ca.pem, path: ca.pem}
{{- end }}
{{- with .own.volumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The file of endpoints, for the notifier and for whoever makes its consumers. As JSON: {"volumes", "volumeMounts"}. */}}
{{- define "dossier.webhooks" -}}
{{- $secret := dict "secretName" .Values.notifier.webhooksSecret "defaultMode" 0440 "items" (list (dict "key" "webhooks.toml" "path" "webhooks.toml")) -}}
{{- dict "volumes" (list (dict "name" "webhooks" "secret" $secret)) "volumeMounts" (list (dict "name" "webhooks" "mountPath" "/etc/dossier/webhooks" "readOnly" true)) | toJson -}}
{{- end -}}

{{/* Alive, and able to work, by HTTP on this port. */}}
{{- define "dossier.probes" -}}
startupProbe:
  httpGet: {path: /livez, port: {{ . }}}
  periodSeconds: 2
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /livez, port: {{ . }}}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: {{ . }}}
  periodSeconds: 5
  timeoutSeconds: 5
{{- end -}}
