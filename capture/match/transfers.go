package match

import (
	"slices"
	"strconv"
	"strings"

	"ip88rig/capture/timeline"
)

func observedTransfers() registry[Observation] {
	return registry[Observation]{"Transfers": transfers{}}
}

type transfers struct {
	Files []string `json:"files"`
}

// Transfers measures how files are downloaded: what is fetched more than once,
// transfers that broke off included, and the parameters of TFTP and HTTP.
func Transfers(files ...string) Observation { return transfers{Files: files} }

func (m transfers) Measure(v timeline.View) []Value {
	whole, again := map[string]int{}, 0
	handed, longest := map[string]int64{}, map[string]int64{}
	options, parameters := none, none
	var ends []string
	for e := range v.Brief.All() {
		if !slices.Contains(m.Files, e.File) {
			continue
		}
		switch {
		case e.Kind == timeline.Fetched:
			whole[e.File]++
			if whole[e.File] > 1 {
				again++
			}
		case e.Kind == timeline.Served:
			handed[e.File] += e.Bytes
			longest[e.File] = max(longest[e.File], e.Bytes)
		case e.Kind == timeline.TFTPRead && options == none:
			options = tftpOptions(e)
		case e.Kind == timeline.HTTPRequest && requested(e):
			if parameters == none {
				parameters = httpParameters(e)
			}
			if end := e.Src.String(); !slices.Contains(ends, end) {
				ends = append(ends, end)
			}
		}
	}
	var twice int64
	for file, n := range handed {
		twice += n - longest[file]
	}
	return []Value{
		{Name: "files fetched again", Value: strconv.Itoa(again)},
		{Name: "bytes fetched again", Value: strconv.FormatInt(twice, 10)},
		{Name: "TFTP options", Value: options},
		{Name: "HTTP parameters", Value: parameters},
		{Name: "HTTP connections", Value: strconv.Itoa(len(ends))},
	}
}

func tftpOptions(e *timeline.Event) string {
	var names []string
	for k, value := range e.Fields {
		if name, ok := strings.CutPrefix(k, "tftp.option."); ok {
			names = append(names, name+"="+value)
		}
	}
	slices.Sort(names)
	return list(names)
}

// httpParameters are the version of a request and what its head says of the way
// in which the file is to come.
func httpParameters(e *timeline.Event) string {
	out := []string{e.Fields["http.request.version"]}
	for _, name := range []string{"connection", "range", "accept_encoding"} {
		if value := e.Fields["http."+name]; value != "" {
			out = append(out, strings.ReplaceAll(name, "_", "-")+"="+value)
		}
	}
	return list(out)
}
