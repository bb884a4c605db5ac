{{/* What values.schema.json cannot say: refused here, with the reason. */}}
{{- define "rollcall.check" -}}
{{- $values := .Values -}}
{{- $least := add (int $values.preStopTurnSeconds) (int $values.preStopSleepSeconds) (int $values.drainGraceSeconds) 5 -}}
{{- if and $values.terminationGracePeriodSeconds (lt (int $values.terminationGracePeriodSeconds) (int $least)) -}}
{{- fail (printf "terminationGracePeriodSeconds: %d s would kill a node that still waits or drains; preStopTurnSeconds, preStopSleepSeconds and drainGraceSeconds need at least %d s" (int $values.terminationGracePeriodSeconds) (int $least)) -}}
{{- end -}}
{{- if and (eq $values.device.external "perPod") (gt (int $values.learners.replicas) 0) (not (contains "{pod}" $values.device.perPod.hostname)) -}}
{{- fail "device.perPod.hostname: with learners it must contain {pod}; their numbers are the voting nodes' again" -}}
{{- end -}}
{{- $old := lookup "apps/v1" "StatefulSet" .Release.Namespace (include "rollcall.name" .) -}}
{{- if and $old (eq $values.scaleDown "refuse") -}}
{{- if gt (int $old.spec.replicas) (int $values.replicas) -}}
{{- fail (printf "replicas: there are %d, and %d were asked for. Nodes that go must lose their vote first, or they count against every quorum: see \"Fewer replicas\" in UPGRADING.md, then set scaleDown=allow" (int $old.spec.replicas) (int $values.replicas)) -}}
{{- end -}}
{{- end -}}
{{- end }}
