{{- /* What the objects have in common. */ -}}

{{- define "ec2map-sync.selector" -}}
app.kubernetes.io/name: ec2map-sync
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "ec2map-sync.labels" -}}
{{ include "ec2map-sync.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "ec2map-sync.files" -}}
ec2map-sync.conf: {{ required "config: --set-file config=ec2map-sync.conf, or existingSecret" .Values.config | quote }}
{{- with .Values.signingKey }}
signing.key: {{ . | quote }}
{{- end }}
{{- with .Values.files }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* A pod of the image: not root, and nothing to write to but its state. */ -}}
{{- define "ec2map-sync.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 42490
  runAsGroup: 42490
  fsGroup: 42490
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "ec2map-sync.container" -}}
image: {{ required "image: as tools/image was copied to a registry" .Values.image }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
resources: {{- toYaml .Values.resources | nindent 2 }}
volumeMounts:
  - name: config
    mountPath: /etc/ec2map-sync
    readOnly: true
  - name: state
    mountPath: /var/lib/ec2map-sync
{{- end }}

{{- /* Root owns the files of a Secret; who is in fsGroup may read them. */ -}}
{{- define "ec2map-sync.config" -}}
name: config
secret:
  secretName: {{ . }}
  defaultMode: 0440
{{- end }}
