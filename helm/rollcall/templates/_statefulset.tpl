{{/* The nodes of one component, `node` (they vote) or `learner`: (root, component). */}}
{{- define "rollcall.statefulset" -}}
{{- $root := .root -}}
{{- $values := $root.Values -}}
{{- $suffix := "" -}}
{{- $own := dict "replicas" $values.replicas "updateStrategy" $values.updateStrategy "persistence" dict -}}
{{- if eq .component "learner" -}}
{{- $suffix = "learner" -}}
{{- $own = $values.learners -}}
{{- end -}}
apiVersion: apps/v1
kind: StatefulSet
metadata:
  {{- include "rollcall.metadata" (dict "root" $root "suffix" $suffix "component" .component) | nindent 2 }}
spec:
  serviceName: {{ include "rollcall.name" $root }}-peers
  replicas: {{ $own.replicas }}
  # A cluster is founded, and comes back, only once its nodes see each other: none may wait for the one before it.
  podManagementPolicy: Parallel
  updateStrategy:
    type: {{ $own.updateStrategy }}
  minReadySeconds: {{ $values.minReadySeconds }}
  revisionHistoryLimit: 5
  persistentVolumeClaimRetentionPolicy:
    whenDeleted: {{ $values.persistence.whenDeleted }}
    whenScaled: {{ $values.persistence.whenScaled }}
  selector:
    matchLabels:
      {{- include "rollcall.selector" $root | nindent 6 }}
      app.kubernetes.io/component: {{ .component }}
  template:
    metadata:
      labels:
        {{- include "rollcall.selector" $root | nindent 8 }}
        app.kubernetes.io/component: {{ .component }}
        {{- with merge (dict) ($own.podLabels | default dict) $values.podLabels $values.commonLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      annotations:
        checksum/config: {{ include "rollcall.toml" $root | sha256sum }}
        {{- with merge (dict) ($own.podAnnotations | default dict) $values.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      {{- include "rollcall.pod" (dict "root" $root "component" .component "own" $own) | nindent 6 }}
  volumeClaimTemplates:
    - apiVersion: v1
      kind: PersistentVolumeClaim
      metadata:
        name: data
        # No label that ever changes: a StatefulSet's claims cannot be changed.
        labels:
          {{- include "rollcall.selector" $root | nindent 10 }}
          app.kubernetes.io/component: {{ .component }}
        {{- with $values.persistence.annotations }}
        annotations:
          {{- toYaml . | nindent 10 }}
        {{- end }}
      spec:
        accessModes: [ReadWriteOnce]
        {{- with $own.persistence.storageClassName | default $values.persistence.storageClassName }}
        storageClassName: {{ . }}
        {{- end }}
        resources:
          requests:
            storage: {{ $own.persistence.size | default $values.persistence.size }}
{{- end }}
