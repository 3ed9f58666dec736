#!/usr/bin/env bash
# Finds the programs of the testbed, or builds them from pinned Go modules, and prints the folder that holds them.
#
#   assets.sh             find, and build what is missing
#   assets.sh --no-build  find only; exit status 3 and a list where something is missing
#
# Each program is looked for in
#   1. $KUBEBUILDER_ASSETS, the usual convention: your own choice, used where its version will do;
#   2. our cache, ${HELIOTROPE_TESTBED_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/heliotrope/testbed};
#   3. PATH, where its version will do;
# and else built into the cache. What is found but refused is named, with the reason, on standard error.
# Standard output is one line: the folder, all of links, that holds the whole set.
#
# HELIOTROPE_TESTBED_GO_JOBS (default 2) is how many packages Go compiles at once.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${HELIOTROPE_TESTBED_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/heliotrope/testbed}

# 1.36 is the first server on which a MutatingAdmissionPolicy of admissionregistration.k8s.io/v1 acts,
# and managed Jobs are held by one.
oldest_server=1.36
oldest_etcd=3.6  # what servers of 1.36 and later are tested with
oldest_kwok=0.8  # our stages use fields of this version
oldest_helm=4    # the chart's test reads helm 4's output

control_plane="kube-apiserver kube-controller-manager kube-scheduler"
programs="etcd $control_plane kubectl kubelet kwok helm"

say() { printf 'testbed: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

group_of() {
  case $1 in
    etcd | kubelet | kwok | helm) echo "$1" ;;
    *) echo kubernetes ;;
  esac
}

# The version that a group's go.mod pins, without its "v".
pinned() {
  case $1 in
    kubernetes | kubelet) set -- "$1" k8s.io/kubernetes ;;
    etcd) set -- "$1" go.etcd.io/etcd/server/v3 ;;
    kwok) set -- "$1" sigs.k8s.io/kwok ;;
    helm) set -- "$1" helm.sh/helm/v4 ;;
  esac
  sed -n "s|^\(require\)\{0,1\}[[:space:]]*$2 v\([^ ]*\).*|\2|p" "$here/go/$1/go.mod" | head -n 1
}

# What Go compiles for a program. `go.etcd.io/etcd/server/v3` is itself the program.
package_of() {
  case $1 in
    etcd) echo go.etcd.io/etcd/server/v3 ;;
    kwok) echo sigs.k8s.io/kwok/cmd/kwok ;;
    helm) echo helm.sh/helm/v4/cmd/helm ;;
    *) echo "k8s.io/kubernetes/cmd/$1" ;;
  esac
}

# Without the -X a server says v0.0.0, and clients that look at versions misbehave.
linker_flags() {
  local version=$2
  case $1 in
    kubernetes | kubelet)
      local x=k8s.io/component-base/version
      echo "-s -w -X $x.gitVersion=v$version -X $x.gitMajor=$(field "$version" 1) -X $x.gitMinor=$(field "$version" 2) -X $x.gitTreeState=clean"
      ;;
    helm) echo "-s -w -X helm.sh/helm/v4/internal/version.version=v$version" ;;
    *) echo "-s -w" ;;
  esac
}

field() { echo "$1" | cut -d. -f"$2"; }

# at_least VERSION OLDEST
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

minor_of() { echo "$(field "$1" 1).$(field "$1" 2)"; }

# The version a program says it is; empty where it says none.
version_of() {
  local out
  case $1 in
    kubectl) out=$("$2" version --client 2>/dev/null || true) ;;
    helm) out=$("$2" version --short 2>/dev/null || true) ;;
    *) out=$("$2" --version 2>/dev/null || true) ;;
  esac
  printf '%s\n' "$out" | grep -oE '[0-9]+\.[0-9]+(\.[0-9]+)?' | head -n 1 || true
}

# The folder in the cache of what a group's go.mod, go.sum and flags build: other pins, other folder.
built_folder() {
  local group=$1 version key
  version=$(pinned "$group")
  key=$({ cat "$here/go/$group/go.mod" "$here/go/$group/go.sum"; linker_flags "$group" "$version"; uname -sm; } | sha256sum | cut -c1-12)
  echo "$cache/built/$group-$version-$key"
}

# Why a program found outside the cache can't be used; empty where it can.
objection() {
  local name=$1 version=$2 oldest
  case $name in
    etcd) oldest=$oldest_etcd ;;
    kwok) oldest=$oldest_kwok ;;
    helm) oldest=$oldest_helm ;;
    *) oldest=$oldest_server ;;
  esac
  if [ -z "$version" ]; then
    echo "it doesn't say its version"
  elif ! at_least "$version" "$oldest"; then
    case $name in
      kube-*) echo "it is $version, and before $oldest a MutatingAdmissionPolicy of v1 doesn't act" ;;
      *) echo "it is $version, and $oldest or newer is needed" ;;
    esac
  fi
}

# candidates NAME: "source path" lines in the order of the look-up.
candidates() {
  local path
  if [ -n "${KUBEBUILDER_ASSETS:-}" ] && [ -x "$KUBEBUILDER_ASSETS/$1" ]; then echo "outside $KUBEBUILDER_ASSETS/$1"; fi
  path=$(built_folder "$(group_of "$1")")/$1
  if [ -x "$path" ]; then echo "cache $path"; fi
  path=$(command -v "$1" 2>/dev/null || true)
  if [ -n "$path" ]; then echo "outside $path"; fi
}

# find_one NAME [MINOR]: the first candidate that will do, of that minor version where one is given. Nothing where none will.
find_one() {
  local name=$1 minor=${2:-} source path version why
  while read -r source path; do
    [ -n "$path" ] || continue
    if [ "$source" = cache ]; then
      version=$(pinned "$(group_of "$name")")
      why=
    else
      version=$(version_of "$name" "$path")
      why=$(objection "$name" "$version")
    fi
    if [ -z "$why" ] && [ -n "$minor" ] && [ "$(minor_of "$version")" != "$minor" ]; then
      why="it is $version, and the kube-apiserver is $minor"
    fi
    if [ -z "$why" ]; then
      echo "$path"
      return
    fi
    say "$path is not used: $why"
  done < <(candidates "$name")
}

# The three of the control plane must be of one minor version, so they are chosen together:
# per kube-apiserver that will do, whether the other two are there, or can be had from the pinned build.
find_control_plane() {
  local source path version why minor manager scheduler
  while read -r source path; do
    [ -n "$path" ] || continue
    if [ "$source" = cache ]; then
      version=$(pinned kubernetes)
    else
      version=$(version_of kube-apiserver "$path")
      why=$(objection kube-apiserver "$version")
      if [ -n "$why" ]; then
        say "$path is not used: $why"
        continue
      fi
    fi
    minor=$(minor_of "$version")
    manager=$(find_one kube-controller-manager "$minor")
    scheduler=$(find_one kube-scheduler "$minor")
    if { [ -z "$manager" ] || [ -z "$scheduler" ]; } && [ "$minor" != "$(minor_of "$(pinned kubernetes)")" ]; then
      say "$path is not used: it is $version, and there is no controller-manager and scheduler of $minor with it"
      continue
    fi
    found[kube-apiserver]=$path
    found[kube-controller-manager]=$manager
    found[kube-scheduler]=$scheduler
    return
  done < <(candidates kube-apiserver)
}

declare -A found=()
find_all() {
  local name
  for name in $programs; do found[$name]=; done
  find_control_plane
  for name in etcd kubectl kubelet kwok helm; do found[$name]=$(find_one "$name"); done
  missing=
  for name in $programs; do
    if [ -z "${found[$name]}" ]; then missing="$missing $name"; fi
  done
}

check_go() {
  local wanted
  wanted=$(sed -n 's/^go //p' "$here/go/kubernetes/go.mod")
  command -v go >/dev/null || die "Go $wanted or newer is needed to build$missing, and there is no \`go\` on PATH." \
    "Install it from the Go project (a distribution's own is often too old), or set KUBEBUILDER_ASSETS to a folder with these programs."
  (cd "$here/go/kubernetes" && go list -m >/dev/null 2>&1) || die "Go $wanted or newer is needed to build$missing, and \`go\` on PATH" \
    "is $(go env GOVERSION 2>/dev/null || echo unknown). Install a newer one from the Go project, or set GOTOOLCHAIN=auto."
}

# build NAME: to a name of its own first, then renamed: what is in the cache is whole.
build() {
  local name=$1 group version folder started=$SECONDS
  group=$(group_of "$name")
  version=$(pinned "$group")
  folder=$(built_folder "$group")
  mkdir -p "$folder"
  say "building $name $version (the first time takes minutes)"
  (cd "$here/go/$group" && CGO_ENABLED=0 go build -mod=readonly -trimpath -p "${HELIOTROPE_TESTBED_GO_JOBS:-2}" \
    -ldflags "$(linker_flags "$group" "$version")" -o "$folder/.$name.$$" "$(package_of "$name")") >&2 ||
    { rm -f "$folder/.$name.$$"; die "$name $version could not be built: Go's own words are above"; }
  mv -f "$folder/.$name.$$" "$folder/$name"
  say "built $name $version in $((SECONDS - started)) s"
}

no_build=
case ${1:-} in
  "") ;;
  --no-build) no_build=1 ;;
  *) die "unknown argument $1; the only one is --no-build" ;;
esac

find_all
if [ -n "$missing" ]; then
  if [ -n "$no_build" ]; then
    say "missing:$missing. \`make testbed-assets\` builds them."
    exit 3
  fi
  check_go
  mkdir -p "$cache"
  exec 9>"$cache/.lock"
  if ! flock --nonblock 9; then
    say "another run builds into $cache; waiting for it"
    flock 9
  fi
  # Another run may have built them while this one waited.
  find_all 2>/dev/null
  for name in $missing; do
    build "$name"
    found[$name]=$(built_folder "$(group_of "$name")")/$name
  done
  exec 9>&-
fi

# The set: one folder of links, named by what it links to, so that another choice is another folder.
key=$(for name in $programs; do echo "${found[$name]}"; done | sha256sum | cut -c1-12)
set_folder=$cache/sets/$key
if [ ! -d "$set_folder" ]; then
  mkdir -p "$cache/sets"
  temporary=$(mktemp -d "$cache/sets/.new.XXXXXX")
  for name in $programs; do ln -s "${found[$name]}" "$temporary/$name"; done
  # -T: a run beside this one may have made it meanwhile; then ours is not needed.
  mv -T "$temporary" "$set_folder" 2>/dev/null || rm -rf "$temporary"
fi
echo "$set_folder"
