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
{{- $tls := $values.tls -}}
{{- if not (or $values.insecure (include "rollcall.tlsSecret" .)) -}}
{{- fail "nothing says how the nodes are protected: give certificates (tls.secretName or tls.certManager) and rules (access.secretName), or, to try it on a network that you trust, insecure=true" -}}
{{- end -}}
{{- if not (or $values.insecure $values.access.secretName $values.access.open) -}}
{{- fail "access.secretName: without rules of who may do what the nodes start only with access.open=true or insecure=true" -}}
{{- end -}}
{{- if and $values.access.secretName $values.access.open -}}
{{- fail "access.open: rules are given too (access.secretName)" -}}
{{- end -}}
{{- if and $tls.certManager.enabled (or $tls.secretName $tls.peerSecretName) -}}
{{- fail "tls.certManager.enabled: it makes the Secrets, so tls.secretName and tls.peerSecretName stay empty" -}}
{{- end -}}
{{- if and $tls.certManager.enabled $values.insecure -}}
{{- fail "insecure: with tls.certManager.enabled it must be false" -}}
{{- end -}}
{{- if and (not (include "rollcall.tlsSecret" .)) (or $tls.peerSecretName $tls.clientCaSecretName) -}}
{{- fail "tls.secretName: the other Secrets need it" -}}
{{- end -}}
{{- end }}

{{/* Not empty if Rollcall is asked before an upgrade whether it may have so few replicas. */}}
{{- define "rollcall.asks" -}}
{{- $old := lookup "apps/v1" "StatefulSet" .Release.Namespace (include "rollcall.name" .) | default dict -}}
{{- $fewer := gt (int (dig "spec" "replicas" 0 $old)) (int .Values.replicas) -}}
{{- if or (eq .Values.scaleDown "askAlways") (and (eq .Values.scaleDown "ask") $fewer) -}}
yes
{{- end -}}
{{- end }}
