//go:build tools

// Package tools names the program behind nodes without machines, so that `go mod tidy` keeps them.
package tools

import (
	_ "sigs.k8s.io/kwok/cmd/kwok"
)
