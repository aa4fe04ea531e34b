{{- define "mitsumori.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{ .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" }}
{{- end -}}
{{- end -}}

{{- define "mitsumori.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "mitsumori.labels" -}}
{{ include "mitsumori.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{- end -}}

{{- /* Ports of metrics, by name: each of several processes has one. */ -}}
{{- define "mitsumori.metrics" -}}
{{- $first := int .Values.metrics.port -}}
{{- range $number := until (int (.Values.settings.processes | default 1)) }}
{{ if $number }}metrics-{{ add1 $number }}{{ else }}metrics{{ end }}: {{ add $first $number }}
{{- end }}
{{- end -}}
