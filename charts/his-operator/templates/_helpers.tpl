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
{{- $rules := list (dict "ports" $ports "to" $peers) -}}
{{- with .Values.networkPolicy.dns -}}
{{- if .namespace -}}
{{- $namespace := dict "matchLabels" (dict "kubernetes.io/metadata.name" .namespace) -}}
{{- $pods := dict "namespaceSelector" $namespace "podSelector" (dict "matchLabels" .podLabels) -}}
{{- $port := list (dict "port" (int .port) "protocol" "UDP") (dict "port" (int .port) "protocol" "TCP") -}}
{{- $rules = append $rules (dict "ports" $port "to" (list $pods)) -}}
{{- end -}}
{{- end -}}
{{- concat $rules .Values.networkPolicy.extraEgress | toJson -}}
{{- end -}}
