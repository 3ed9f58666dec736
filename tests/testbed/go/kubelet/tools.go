//go:build tools

// Package tools names the kubelet, so that `go mod tidy` keeps it.
package tools

import (
	_ "k8s.io/kubernetes/cmd/kubelet"
)
