{{- define "heliotrope.labels" -}}
app.kubernetes.io/name: heliotrope
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}
{{- define "heliotrope.selector" -}}
app.kubernetes.io/name: heliotrope
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
{{- define "heliotrope.port" -}}
{{ regexReplaceAll "^.*:" .Values.config.listen "" }}
{{- end }}
