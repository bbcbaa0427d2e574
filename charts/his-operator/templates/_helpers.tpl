{{/* The operator's image: by digest if there is one. */}}
{{- define "his-operator.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ default .Chart.AppVersion $image.tag }}
{{- end -}}
{{- end -}}

{{/* The image for hospitals' pods: the same, unless told otherwise. */}}
{{- define "his-operator.agentImage" -}}
{{- default (include "his-operator.image" .) .Values.agentImage -}}
{{- end -}}

{{/* Ingress rules as JSON. An empty list of peers must never become a rule: to Kubernetes that means everybody. */}}
{{- define "his-operator.ingress" -}}
{{- $rules := list -}}
{{- with .Values.networkPolicy.metricsFrom -}}
{{- $rules = append $rules (dict "from" . "ports" (list (dict "port" 8080 "protocol" "TCP"))) -}}
{{- end -}}
{{- toJson $rules -}}
{{- end -}}

{{/* Egress rules as JSON. */}}
{{- define "his-operator.egress" -}}
{{- $peers := list -}}
{{- range (default (list "0.0.0.0/0" "::/0") .Values.networkPolicy.apiServerCidrs) -}}
{{- $peers = append $peers (dict "ipBlock" (dict "cidr" .)) -}}
{{- end -}}
{{- $ports := list -}}
{{- range .Values.networkPolicy.apiServerPorts -}}
{{- $ports = append $ports (dict "port" (int .) "protocol" "TCP") -}}
{{- end -}}
{{- concat (list (dict "ports" $ports "to" $peers)) .Values.networkPolicy.extraEgress | toJson -}}
{{- end -}}
