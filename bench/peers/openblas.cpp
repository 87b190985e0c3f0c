// OpenBLAS: single-precision products, weights as they are (it has no call that
// packs them once).
#include "peer.h"
#include <cblas.h>
#include <memory>

static Work make(const Question& q, const std::vector<float>& x, const std::vector<std::vector<float>>& weights) {
    if (q.type != "f32") throw "it is built for f32 alone";
    struct Data {
        std::vector<std::vector<float>> weights;
        std::vector<float> x, y[2];
    };
    auto d = std::make_shared<Data>(Data{weights, x, {std::vector<float>(q.m * q.n), std::vector<float>(q.m * q.n)}});
    auto run = [d, q] {
        const float* from = d->x.data();
        for (long i = 0; i < q.layers; i++) {
            float* to = d->y[i % 2].data();
            const float* w = d->weights[i].data();
            if (q.m == 1)
                cblas_sgemv(CblasRowMajor, CblasNoTrans, q.n, q.k, 1, w, q.k, from, 1, 0, to, 1);
            else
                cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, q.m, q.n, q.k, 1, from, q.k, w, q.k, 0, to, q.n);
            from = to;
        }
    };
    return {run, [d, q](long row, long column) { return d->y[0][row * q.n + column]; }};
}

int main() {
    std::ostringstream about;
    about << openblas_get_config() << ", kernels for " << openblas_get_corename() << ", " << openblas_get_num_threads() << " threads";
    return serve(about.str(), make);
}
