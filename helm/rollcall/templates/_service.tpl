{{/* Parts of Services and of ways in from outside. */}}

{{/* What depends on the type of a Service: (type, service). */}}
{{- define "rollcall.serviceType" -}}
type: {{ .type }}
{{- with .service.ipFamilyPolicy }}
ipFamilyPolicy: {{ . }}
{{- end }}
{{- with .service.trafficDistribution }}
trafficDistribution: {{ . }}
{{- end }}
{{- with .service.externalTrafficPolicy }}
externalTrafficPolicy: {{ . }}
{{- end }}
{{- with .service.loadBalancerClass }}
loadBalancerClass: {{ . }}
{{- end }}
{{- with .service.loadBalancerSourceRanges }}
loadBalancerSourceRanges:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Ingress and GRPCRoute to the Service of an audience: (root, audience, ways). */}}
{{- define "rollcall.waysIn" -}}
{{- $name := printf "%s-%s" (include "rollcall.name" .root) .audience -}}
{{- $ingress := .ways.ingress -}}
{{- if $ingress.enabled }}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  {{- include "rollcall.metadata" (dict "root" .root "suffix" .audience "component" .audience "annotations" $ingress.annotations) | nindent 2 }}
spec:
  {{- with $ingress.className }}
  ingressClassName: {{ . }}
  {{- end }}
  {{- with $ingress.tls }}
  tls:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  rules:
    {{- range $ingress.hosts }}
    - host: {{ . | quote }}
      http:
        paths:
          - path: /
            pathType: Prefix
            backend:
              service:
                name: {{ $name }}
                port:
                  name: grpc
    {{- end }}
{{- end }}
{{- $route := .ways.grpcRoute -}}
{{- if $route.enabled }}
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata:
  {{- include "rollcall.metadata" (dict "root" .root "suffix" .audience "component" .audience "annotations" $route.annotations) | nindent 2 }}
spec:
  parentRefs:
    {{- toYaml $route.parentRefs | nindent 4 }}
  {{- with $route.hostnames }}
  hostnames:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  rules:
    - backendRefs:
        - name: {{ $name }}
          port: {{ .ways.service.port }}
{{- end }}
{{- end }}
