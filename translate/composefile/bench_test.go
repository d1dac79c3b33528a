package composefile

import (
	"fmt"
	"testing"

	"github.com/berth-dev/berth/infra/testneed"
)

func BenchmarkRead(b *testing.B) {
	for _, shape := range testneed.Shapes() {
		for _, n := range []int{10, 100, 1000, 5000} {
			b.Run(fmt.Sprintf("%s/%d", shape, n), func(b *testing.B) {
				dir := testneed.LargeProject(b, shape, n)
				b.ReportAllocs()
				for b.Loop() {
					if _, _, err := Read(b.Context(), Options{Dir: dir}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
