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
{{- /* Agents' pods are not the controller's: its Service and its NetworkPolicy must not select them. */ -}}
{{- define "heliotrope.agent" -}}
app.kubernetes.io/name: heliotrope-agent
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
{{- /* How the API server is reached where its service address leads nowhere: entries of env. */ -}}
{{- define "heliotrope.api-server" -}}
{{- with .Values.apiServer.host -}}
- {name: KUBERNETES_SERVICE_HOST, value: {{ . | quote }}}
{{ end }}
{{- with .Values.apiServer.port -}}
- {name: KUBERNETES_SERVICE_PORT, value: {{ . | quote }}}
{{- end }}
{{- end }}
{{- /* Where a probe asks in the host's network, if what it asks listens at one address there: it is the pod's otherwise. */ -}}
{{- define "heliotrope.probed-host" -}}
{{- $root := index . 0 }}{{ $host := regexReplaceAll ":.*$" (index . 1) "" }}
{{- if and $root.Values.hostNetwork (ne $host "0.0.0.0") }}, host: {{ $host }}{{ end }}
{{- end }}
{{- /* What GPU nodes without a working agent have: the controller takes it off again, so it must be able to run there. */ -}}
{{- define "heliotrope.tolerations" -}}
- {key: heliotrope.dev/agent-not-ready, operator: Exists, effect: NoSchedule}
{{- with .Values.tolerations }}
{{ toYaml . }}
{{- end }}
{{- end }}
