{{/* The nodes' configuration file, the same for all. What differs from pod to pod is in their environment. */}}
{{- define "rollcall.toml" -}}
# Made by the chart. `rollcall config print` in a pod shows what is in force and where it comes from.
data_dir = "/var/lib/rollcall"
join = {{ include "rollcall.join" . }}
voters = {{ ternary 5 3 (eq (int .Values.replicas) 5) }}
api_addr = "{{ .Values.listenAddress }}:7400"
device_addr = "{{ .Values.listenAddress }}:7401"
peer_addr = "{{ .Values.listenAddress }}:7402"
http_addr = "{{ .Values.listenAddress }}:7403"
drain_grace = "{{ int .Values.drainGraceSeconds }}s"
insecure = {{ .Values.insecure }}
{{- with .Values.device.trustedProxies }}
device_trusted_proxies = {{ toJson . }}
{{- end }}
{{- with .Values.api.trustedProxies }}
api_trusted_proxies = {{ toJson . }}
{{- end }}
{{- if .Values.access.secretName }}
access = "/etc/rollcall-access/access.toml"
{{- else if .Values.access.open }}
access = "open"
{{- end }}
{{- if include "rollcall.tlsSecret" . }}
tls_cert = "/etc/rollcall-tls/tls.crt"
tls_key = "/etc/rollcall-tls/tls.key"
peer_cert = "/etc/rollcall-peer-tls/tls.crt"
peer_key = "/etc/rollcall-peer-tls/tls.key"
peer_ca = "/etc/rollcall-peer-tls/ca.crt"
{{- if .Values.tls.clientCaSecretName }}
client_ca = "/etc/rollcall-client-ca/ca.crt"
{{- end }}
{{- end }}
{{- range $key, $value := .Values.config }}
{{ $key }} = {{ $value | toJson }}
{{- end }}
{{- end }}

{{/* The peer addresses of all voting nodes: the same list on each. */}}
{{- define "rollcall.join" -}}
{{- $peers := list -}}
{{- range until (int .Values.replicas) -}}
{{- $peers = append $peers (printf "%s-%d.%s:7402" (include "rollcall.name" $) . (include "rollcall.domain" $)) -}}
{{- end -}}
{{- concat $peers .Values.extraJoin | toJson -}}
{{- end }}

{{/* A node's environment: (root, component). */}}
{{- define "rollcall.env" -}}
{{- $values := .root.Values -}}
{{- $own := printf "$(POD_NAME).%s" (include "rollcall.domain" .root) -}}
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: ROLLCALL_NAME
  value: $(POD_NAME)
- name: ROLLCALL_BOOTSTRAP_EXPECT
  value: {{ ternary (int $values.replicas) 0 (and $values.bootstrap (eq .component "node")) | quote }}
{{- if and (eq .component "learner") $values.learners.leaveOnStop }}
- name: ROLLCALL_LEAVE_ON_STOP
  value: learners
{{- end }}
- name: ROLLCALL_ADVERTISE_API_ADDR
  value: {{ $own }}:7400
- name: ROLLCALL_ADVERTISE_PEER_ADDR
  value: {{ $own }}:7402
- name: ROLLCALL_ADVERTISE_HTTP_ADDR
  value: {{ $own }}:7403
{{- if eq $values.device.external "perPod" }}
{{- $hostname := $values.device.perPod.hostname }}
{{- if contains "{index}" $hostname }}
- name: POD_INDEX
  valueFrom:
    fieldRef:
      fieldPath: metadata.labels['apps.kubernetes.io/pod-index']
{{- end }}
- name: ROLLCALL_ADVERTISE_DEVICE_ADDR
  value: {{ include "rollcall.perPod" (dict "text" $hostname "pod" "$(POD_NAME)" "index" "$(POD_INDEX)") }}:{{ $values.device.service.port }}
{{- end }}
{{- if include "rollcall.tlsSecret" .root }}
- name: ROLLCALL_ADDR
  value: https://{{ $own }}:7400
- name: ROLLCALL_CA
  value: /etc/rollcall-tls/ca.crt
{{- end }}
{{- if $values.access.tokenSecretName }}
- name: ROLLCALL_TOKEN_FILE
  value: /etc/rollcall-token/token
{{- end }}
{{- with $values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* How the chart's own pods come in: what they trust, and as whom they speak. */}}
{{- define "rollcall.comingIn" -}}
{{- include "rollcall.comingInBy" (dict "root" . "prefix" "ROLLCALL_") }}
{{- end }}

{{- define "rollcall.comingInAsADevice" -}}
{{- include "rollcall.comingInBy" (dict "root" . "prefix" "ROLLCALL_AGENT_") }}
{{- end }}

{{- define "rollcall.comingInBy" -}}
{{- $values := .root.Values }}
{{- $tls := include "rollcall.tlsSecret" .root }}
{{- if or $tls $values.access.tokenSecretName -}}
env:
  {{- if $tls }}
  - {name: {{ .prefix }}CA, value: /etc/rollcall-tls/ca.crt}
  {{- end }}
  {{- if $values.access.tokenSecretName }}
  - {name: {{ .prefix }}TOKEN_FILE, value: /etc/rollcall-token/token}
  {{- end }}
volumeMounts:
  {{- if $tls }}
  - {name: tls, mountPath: /etc/rollcall-tls, readOnly: true}
  {{- end }}
  {{- if $values.access.tokenSecretName }}
  - {name: token, mountPath: /etc/rollcall-token, readOnly: true}
  {{- end }}
{{- end }}
{{- end }}

{{- define "rollcall.comingInVolumes" -}}
{{- with include "rollcall.tlsSecret" . -}}
- name: tls
  secret: {secretName: {{ . }}, items: [{key: ca.crt, path: ca.crt}]}
{{ end }}
{{- with .Values.access.tokenSecretName -}}
- name: token
  secret: {secretName: {{ . }}, items: [{key: token, path: token}], defaultMode: 0440}
{{- end }}
{{- end }}
