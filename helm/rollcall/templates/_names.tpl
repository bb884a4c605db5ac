{{/* Names and labels. */}}

{{/* The objects' common name. Short enough for "-learner", a pod's number and a revision's hash behind it. */}}
{{- define "rollcall.name" -}}
{{- $chart := .Values.nameOverride | default .Chart.Name -}}
{{- $name := ternary .Release.Name (printf "%s-%s" .Release.Name $chart) (contains $chart .Release.Name) -}}
{{- .Values.fullnameOverride | default $name | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{/* What selects this release's nodes, voting or not. Never changes: StatefulSets cannot. */}}
{{- define "rollcall.selector" -}}
app.kubernetes.io/name: rollcall
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Labels of every object. */}}
{{- define "rollcall.labels" -}}
{{ include "rollcall.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: rollcall
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* An object's metadata: (root); and, if there are any: name or suffix, component, annotations, labels. */}}
{{- define "rollcall.metadata" -}}
name: {{ .name | default (include "rollcall.name" .root) }}{{ with .suffix }}-{{ . }}{{ end }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "rollcall.labels" .root | nindent 2 }}
  {{- with .component }}
  app.kubernetes.io/component: {{ . }}
  {{- end }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge (dict) (.annotations | default dict) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "rollcall.serviceAccountName" -}}
{{- $made := ternary (include "rollcall.name" .) "default" .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default $made -}}
{{- end }}

{{- define "rollcall.image" -}}
{{- $image := .Values.image -}}
{{- $path := $image.repository -}}
{{- with .Values.global.imageRegistry }}{{ $path = printf "%s/%s" . $path }}{{ end -}}
{{- if $image.digest -}}
{{ $path }}@{{ $image.digest }}
{{- else -}}
{{ $path }}:{{ $image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* The domain of the nodes' own names, each `<pod>.` before it. */}}
{{- define "rollcall.domain" -}}
{{ include "rollcall.name" . }}-peers.{{ .Release.Namespace }}.svc.{{ .Values.clusterDomain }}
{{- end }}

{{/* A text with {pod}, {index} and {hostname} replaced: (text, pod, index, hostname). */}}
{{- define "rollcall.perPod" -}}
{{- .text | replace "{hostname}" (.hostname | default "") | replace "{pod}" .pod | replace "{index}" .index -}}
{{- end }}

{{/* The Secret with the certificate of the API, device and HTTP listeners; empty: plain text. */}}
{{- define "rollcall.tlsSecret" -}}
{{- if .Values.tls.certManager.enabled -}}
{{ include "rollcall.name" . }}-tls
{{- else -}}
{{ .Values.tls.secretName }}
{{- end -}}
{{- end }}

{{/* The Secret with the nodes' certificate for each other. */}}
{{- define "rollcall.peerTlsSecret" -}}
{{- if .Values.tls.certManager.enabled -}}
{{ include "rollcall.name" . }}-peer-tls
{{- else -}}
{{ .Values.tls.peerSecretName | default .Values.tls.secretName }}
{{- end -}}
{{- end }}
