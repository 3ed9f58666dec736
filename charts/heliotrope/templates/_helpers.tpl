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
{{- /* Conditions that all policies on Jobs share. A root is enforced: in Observe nobody would start a held Job. The Job
is not exempt: by its label, or since it asks for no accelerators, counted as the controller counts them. */ -}}
{{- define "heliotrope.managed-jobs" -}}
- name: a-root-is-enforced
  expression: "!has(params.spec.parent) && has(params.spec.mode) && params.spec.mode == 'Enforce'"
- name: not-exempted
  expression: "!has(object.metadata.labels) || !('heliotrope.dev/managed' in object.metadata.labels) || object.metadata.labels['heliotrope.dev/managed'] == 'true'"
- name: has-accelerators
  expression: >-
    (object.spec.template.spec.containers + (has(object.spec.template.spec.initContainers) ? object.spec.template.spec.initContainers : []))
    .exists(c, has(c.resources) && (
    (has(c.resources.limits) && 'nvidia.com/gpu' in c.resources.limits && string(c.resources.limits['nvidia.com/gpu']) != '0') ||
    (has(c.resources.requests) && 'nvidia.com/gpu' in c.resources.requests && string(c.resources.requests['nvidia.com/gpu']) != '0')))
{{- end }}
{{- define "heliotrope.port" -}}
{{ regexReplaceAll "^.*:" .Values.config.listen "" }}
{{- end }}
