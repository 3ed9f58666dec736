//go:build tools

// Package tools names the program that installs the chart, so that `go mod tidy` keeps them.
package tools

import (
	_ "helm.sh/helm/v4/cmd/helm"
)
