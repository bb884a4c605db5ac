{{/* The alerts of alerts/rollcall.yaml that are on, with this release's labels and values. */}}
{{- define "rollcall.alerts" -}}
{{- $rules := .Values.monitoring.rules -}}
{{- $alerts := list -}}
{{- range $one := .Files.Get "alerts/rollcall.yaml" | fromYamlArray -}}
{{- $own := get $.Values.alerts $one.alert | required (printf "alerts.%s is missing" $one.alert) -}}
{{- $pointless := and (eq $one.alert "RollcallFailureToleranceZero") (eq (int $.Values.replicas) 1) -}}
{{- if and $own.enabled (not $pointless) -}}
{{- $url := $rules.runbookUrl | replace "{alert}" (lower $one.alert) -}}
{{- $texts := dict "summary" $one.summary "description" $one.description "runbook_url" $url -}}
{{- $alert := dict "alert" $one.alert "expr" $one.expr -}}
{{- range $name, $text := include "rollcall.alertTexts" (dict "root" $ "own" $own) | fromYaml -}}
{{- $_ := set $alert "expr" ($alert.expr | replace (printf "%%%s%%" $name) $text) -}}
{{- $_ := set $texts "description" ($texts.description | replace (printf "%%%s%%" $name) $text) -}}
{{- end -}}
{{- with $own.for }}{{ $_ := set $alert "for" . }}{{ end -}}
{{- $_ := set $alert "labels" (merge (dict "severity" $own.severity) $rules.alertLabels) -}}
{{- $_ := set $alert "annotations" $texts -}}
{{- $alerts = append $alerts $alert -}}
{{- end -}}
{{- end -}}
{{- toYaml $alerts -}}
{{- end }}

{{/* What stands for the %names% in an alert: (root, own). */}}
{{- define "rollcall.alertTexts" -}}
{{- $name := include "rollcall.name" .root -}}
{{- $replicas := int .root.Values.replicas -}}
{{- $own := printf "job=%q,namespace=%q" $name .root.Release.Namespace -}}
{{- $unreadable := "CLOSE_CODE_(PROTOCOL_ERROR|VERSION|INVALID|TOO_LARGE)" -}}
{{- $texts := dict "own" $own -}}
{{- $_ := set $texts "voters" (printf "%s,instance=~%q" $own (printf "%s-[0-9]+" $name)) -}}
{{- $_ := set $texts "quorum" (add (div $replicas 2) 1 | toString) -}}
{{- $claims := printf "data-%s-(learner-)?[0-9]+" $name -}}
{{- $_ := set $texts "claims" (printf "namespace=%q,persistentvolumeclaim=~%q" .root.Release.Namespace $claims) -}}
{{- $_ := set $texts "unreadable" (printf "rollcall_device_sessions_closed_total{%s,reason=~%q}" $own $unreadable) -}}
{{- range list "[5m]" "[30m]" "[1h]" "[6h]" "[1h] offset 10m" -}}
{{- $all := printf "sum(rate(rollcall_calls_total{%s}%s))" $own . -}}
{{- $_ := set $texts (printf "calls%s" .) $all -}}
{{- $_ := set $texts (printf "faults%s" .) (printf "sum(rate(rollcall_calls_total{%s,fault=\"cluster\"}%s)) / %s" $own . $all) -}}
{{- end -}}
{{- range $key, $value := omit .own "enabled" "for" "severity" -}}
{{- $_ := set $texts $key ($value | toString) -}}
{{- end -}}
{{- toYaml $texts -}}
{{- end }}
