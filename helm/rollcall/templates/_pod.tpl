{{/* The spec of a node's pod: (root, component, own). */}}
{{- define "rollcall.pod" -}}
{{- $values := .root.Values -}}
{{- $scheme := ternary "HTTPS" "HTTP" (not (empty (include "rollcall.tlsSecret" .root))) -}}
{{- $grace := add $values.preStopTurnSeconds $values.preStopSleepSeconds $values.drainGraceSeconds 15 -}}
serviceAccountName: {{ include "rollcall.serviceAccountName" .root }}
automountServiceAccountToken: false
enableServiceLinks: false
terminationGracePeriodSeconds: {{ $values.terminationGracePeriodSeconds | default $grace }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
securityContext:
  {{- toYaml $values.podSecurityContext | nindent 2 }}
{{- with $values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- include "rollcall.affinity" . }}
{{- with .own.nodeSelector | default $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .own.tolerations | default $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.initContainers }}
initContainers:
  {{- toYaml . | nindent 2 }}
{{- end }}
containers:
  - name: rollcall
    image: {{ include "rollcall.image" .root }}
    imagePullPolicy: {{ $values.image.pullPolicy }}
    command: [rollcall]
    args: {{ concat (list "serve" "--config" "/etc/rollcall/rollcall.toml") $values.extraArgs | toJson }}
    env:
      {{- include "rollcall.env" . | nindent 6 }}
    {{- with $values.extraEnvFrom }}
    envFrom:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    ports:
      - {name: api, containerPort: 7400, protocol: TCP}
      - {name: device, containerPort: 7401, protocol: TCP}
      - {name: peer, containerPort: 7402, protocol: TCP}
      - {name: http, containerPort: 7403, protocol: TCP}
    startupProbe:
      httpGet: {path: /livez, port: http, scheme: {{ $scheme }}}
      {{- toYaml $values.startupProbe | nindent 6 }}
    livenessProbe:
      httpGet: {path: /livez, port: http, scheme: {{ $scheme }}}
      {{- toYaml $values.livenessProbe | nindent 6 }}
    readinessProbe:
      httpGet: {path: /readyz, port: http, scheme: {{ $scheme }}}
      {{- toYaml $values.readinessProbe | nindent 6 }}
    {{- if $values.preStopTurnSeconds }}
    lifecycle:
      preStop:
        exec:
          command: {{ list "rollcall" "prestop" "--config" "/etc/rollcall/rollcall.toml" "--give-up-after" (printf "%ds" (int $values.preStopTurnSeconds)) "--linger" (printf "%ds" (int $values.preStopSleepSeconds)) | toJson }}
    {{- else if $values.preStopSleepSeconds }}
    lifecycle:
      preStop:
        sleep: {seconds: {{ $values.preStopSleepSeconds }}}
    {{- end }}
    {{- with .own.resources | default $values.resources }}
    resources:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    securityContext:
      {{- toYaml $values.containerSecurityContext | nindent 6 }}
    volumeMounts:
      - {name: data, mountPath: /var/lib/rollcall}
      - {name: config, mountPath: /etc/rollcall, readOnly: true}
      {{- if $values.access.secretName }}
      - {name: access, mountPath: /etc/rollcall-access, readOnly: true}
      {{- end }}
      {{- if $values.access.tokenSecretName }}
      - {name: token, mountPath: /etc/rollcall-token, readOnly: true}
      {{- end }}
      {{- if include "rollcall.tlsSecret" .root }}
      - {name: tls, mountPath: /etc/rollcall-tls, readOnly: true}
      - {name: peer-tls, mountPath: /etc/rollcall-peer-tls, readOnly: true}
      {{- if $values.tls.clientCaSecretName }}
      - {name: client-ca, mountPath: /etc/rollcall-client-ca, readOnly: true}
      {{- end }}
      {{- end }}
      {{- with $values.extraVolumeMounts }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
  {{- with $values.extraContainers }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
volumes:
  - name: config
    configMap:
      name: {{ include "rollcall.name" .root }}
  {{- with $values.access.secretName }}
  - name: access
    secret: {secretName: {{ . }}, defaultMode: 0440}
  {{- end }}
  {{- with $values.access.tokenSecretName }}
  - name: token
    secret: {secretName: {{ . }}, items: [{key: token, path: token}], defaultMode: 0440}
  {{- end }}
  {{- with include "rollcall.tlsSecret" .root }}
  - name: tls
    secret: {secretName: {{ . }}, defaultMode: 0440}
  - name: peer-tls
    secret: {secretName: {{ include "rollcall.peerTlsSecret" $.root }}, defaultMode: 0440}
  {{- with $values.tls.clientCaSecretName }}
  - name: client-ca
    secret: {secretName: {{ . }}, items: [{key: ca.crt, path: ca.crt}]}
  {{- end }}
  {{- end }}
  {{- with $values.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{/* Affinity and spread over hosts and zones: (root, component). */}}
{{- define "rollcall.affinity" }}
{{- $values := .root.Values }}
{{- if or (ne $values.hostAntiAffinity "none") $values.nodeAffinity }}
affinity:
  {{- with $values.nodeAffinity }}
  nodeAffinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if eq $values.hostAntiAffinity "required" }}
  podAntiAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      - topologyKey: kubernetes.io/hostname
        labelSelector:
          {{- include "rollcall.likes" . | nindent 10 }}
  {{- else if eq $values.hostAntiAffinity "preferred" }}
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            {{- include "rollcall.likes" . | nindent 12 }}
  {{- end }}
{{- end }}
{{- if or (ne $values.zoneSpread "none") $values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- if ne $values.zoneSpread "none" }}
  - topologyKey: {{ $values.zoneKey }}
    maxSkew: 1
    whenUnsatisfiable: {{ $values.zoneSpread }}
    labelSelector:
      {{- include "rollcall.likes" . | nindent 6 }}
  {{- end }}
  {{- with $values.topologySpreadConstraints }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Selects the pods of the same component. */}}
{{- define "rollcall.likes" -}}
matchLabels:
  {{- include "rollcall.selector" .root | nindent 2 }}
  app.kubernetes.io/component: {{ .component }}
{{- end }}
