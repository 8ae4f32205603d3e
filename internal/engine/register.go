package engine

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/durango-go/durango/internal/replay"
	"github.com/durango-go/durango/provider"
)

// Register adds what this node can run. It must be called before Run; the
// caller has made sure that there are no duplicates.
func (e *Engine) Register(orchestrations []Orchestration, activities []Activity) {
	for _, o := range orchestrations {
		versions := append(e.orchestrations[o.Name], o)
		slices.SortStableFunc(versions, func(a, b Orchestration) int { return CompareVersions(b.Version, a.Version) })
		e.orchestrations[o.Name] = versions
	}
	for _, a := range activities {
		e.activities[a.Name] = &activity{Activity: a}
		e.filters = append(e.filters, provider.TaskFilter{Name: a.Name, Pool: a.Pool})
	}
	e.definitions = e.definitions[:0]
	for name, versions := range e.orchestrations {
		e.definitions = append(e.definitions, provider.Definition{Name: name})
		for _, v := range versions {
			e.definitions = append(e.definitions, provider.Definition{Name: name, Version: v.Version})
		}
	}
	slices.SortFunc(e.definitions, func(a, b provider.Definition) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Version, b.Version))
	})
}

// Code returns the code for a name and a version, or nil if there is none; an
// empty version means the highest.
func (e *Engine) Code(name, version string) replay.Code {
	if o := e.resolve(name, version); o != nil {
		return o.Code
	}
	return nil
}

// CompareVersions orders semantic versions (semver.org, 11): numerically by
// major, minor and patch; a pre-release comes before its release; build
// metadata does not count.
func CompareVersions(a, b string) int {
	a, _, _ = strings.Cut(a, "+")
	b, _, _ = strings.Cut(b, "+")
	a, preA, _ := strings.Cut(a, "-")
	b, preB, _ := strings.Cut(b, "-")
	if c := compareDotted(a, b); c != 0 {
		return c
	}
	switch {
	case preA == preB:
		return 0
	case preA == "":
		return 1
	case preB == "":
		return -1
	}
	return compareDotted(preA, preB)
}

func compareDotted(a, b string) int {
	for a != "" || b != "" {
		var x, y string
		x, a, _ = strings.Cut(a, ".")
		y, b, _ = strings.Cut(b, ".")
		if c := compareIdentifiers(x, y); c != 0 {
			return c
		}
	}
	return 0
}

// compareIdentifiers: numbers numerically and before words, a missing one
// first.
func compareIdentifiers(x, y string) int {
	m, errX := strconv.ParseUint(x, 10, 64)
	n, errY := strconv.ParseUint(y, 10, 64)
	switch {
	case errX == nil && errY == nil:
		return cmp.Compare(m, n)
	case errX == nil && y != "":
		return -1
	case errY == nil && x != "":
		return 1
	}
	return strings.Compare(x, y)
}
