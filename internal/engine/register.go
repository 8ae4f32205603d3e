package engine

import (
	"cmp"
	"slices"
	"strings"

	"golang.org/x/time/rate"

	"github.com/durango-go/durango/internal/replay"
	"github.com/durango-go/durango/provider"
)

// Register adds what this node can run. It must be called before Run; the
// caller has made sure that there are no duplicates.
func (e *Engine) Register(orchestrations []Orchestration, activities []Activity) {
	for _, o := range orchestrations {
		versions := append(e.orchestrations[o.Name], o)
		slices.SortStableFunc(versions, func(a, b Orchestration) int { return compareVersions(b.Version, a.Version) })
		e.orchestrations[o.Name] = versions
	}
	for _, a := range activities {
		act := &activity{Activity: a}
		if a.Rate > 0 {
			act.rate = rate.NewLimiter(rate.Limit(a.Rate), max(1, int(a.Rate)))
		}
		e.activities[a.Name] = act
		e.filters = append(e.filters, provider.TaskFilter{Name: a.Name, Pool: a.Pool})
	}
	var definitions []provider.Definition
	for name, versions := range e.orchestrations {
		definitions = append(definitions, provider.Definition{Name: name})
		for _, v := range versions {
			definitions = append(definitions, provider.Definition{Name: name, Version: v.Version})
		}
	}
	slices.SortFunc(definitions, func(a, b provider.Definition) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Version, b.Version))
	})
	e.registered = definitions
	e.definitions.Store(&definitions)
}

// Code returns the code for a name and a version, or nil if there is none; an
// empty version means the highest.
func (e *Engine) Code(name, version string) replay.Code {
	if o := e.resolve(name, version); o != nil {
		return o.Code
	}
	return nil
}
