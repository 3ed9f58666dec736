//go:build tools

// Package tools names the store of the control plane, so that `go mod tidy` keeps them.
package tools

import (
	_ "go.etcd.io/etcd/server/v3"
)
