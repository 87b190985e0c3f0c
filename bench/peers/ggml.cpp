// ggml, the library below llama.cpp: products with weights as they are stored
// there (f32, bf16, q8_0, q4_0) and f32 x, which it rounds or quantises to go with
// them. Weights lie in whichever of the layouts that it has for them is fastest:
// rows, or what it repacks them into.
#include "peer.h"
#include <cstdlib>
#include <memory>

#include "ggml-backend.h"
#include "ggml-cpu.h"
#include "ggml.h"

static int threads() {
    const char* n = getenv("OMP_NUM_THREADS");
    return n ? std::max(1, atoi(n)) : 1;
}

static ggml_backend_t backend() {
    static ggml_backend_t b = [] {
        ggml_backend_t b = ggml_backend_cpu_init();
        ggml_backend_cpu_set_n_threads(b, threads());
        return b;
    }();
    return b;
}

// layouts are the kinds of memory that weights may lie in.
static std::vector<ggml_backend_buffer_type_t> layouts() {
    std::vector<ggml_backend_buffer_type_t> list{ggml_backend_cpu_buffer_type()};
    auto device = ggml_backend_get_device(backend());
    auto extra = (ggml_backend_dev_get_extra_bufts_t)ggml_backend_reg_get_proc_address(ggml_backend_dev_backend_reg(device), "ggml_backend_dev_get_extra_bufts");
    for (auto* b = extra ? extra(device) : nullptr; b && *b; b++) list.push_back(*b);
    return list;
}

static ggml_type typeOf(const std::string& name) {
    static const std::map<std::string, ggml_type> types{{"f32", GGML_TYPE_F32}, {"bf16", GGML_TYPE_BF16}, {"q8", GGML_TYPE_Q8_0}, {"q4", GGML_TYPE_Q4_0}};
    auto t = types.find(name);
    if (t == types.end()) throw "it is asked for f32, bf16, q8 and q4 alone";
    return t->second;
}

// Graph is a chain of products, ready to be computed.
struct Graph {
    ggml_context *weights = nullptr, *values = nullptr;
    ggml_backend_buffer_t held[2] = {nullptr, nullptr};
    ggml_tensor *first = nullptr, *x = nullptr;
    ggml_cgraph* graph = nullptr;

    ~Graph() {
        for (auto b : held)
            if (b) ggml_backend_buffer_free(b);
        for (auto c : {weights, values})
            if (c) ggml_free(c);
    }

    // make says whether there is such a layout of these weights.
    bool make(const Question& q, ggml_backend_buffer_type_t layout, const std::vector<float>& from, const std::vector<std::vector<float>>& data) {
        ggml_type type = typeOf(q.type);
        ggml_init_params room{(size_t(q.layers) * 3 + 16) * ggml_tensor_overhead() + ggml_graph_overhead(), nullptr, true};
        weights = ggml_init(room), values = ggml_init(room);
        std::vector<ggml_tensor*> w;
        for (long i = 0; i < q.layers; i++) w.push_back(ggml_new_tensor_2d(weights, type, q.k, q.n));
        held[0] = ggml_backend_alloc_ctx_tensors_from_buft(weights, layout);
        if (!held[0]) return false;
        x = ggml_new_tensor_2d(values, GGML_TYPE_F32, q.k, q.m);
        graph = ggml_new_graph(values);
        ggml_tensor* y = x;
        for (long i = 0; i < q.layers; i++) {
            y = ggml_mul_mat(values, w[i], y);
            if (i == 0) first = y;
            if (!ggml_backend_dev_supports_op(ggml_backend_get_device(backend()), y)) return false;
        }
        ggml_build_forward_expand(graph, y);
        held[1] = ggml_backend_alloc_ctx_tensors(values, backend());
        if (!held[1]) throw "it has not memory enough";
        for (long i = 0; i < q.layers; i++) {
            std::vector<char> stored(ggml_nbytes(w[i]));
            if (type == GGML_TYPE_F32)
                memcpy(stored.data(), data[i].data(), stored.size());
            else
                ggml_quantize_chunk(type, data[i].data(), stored.data(), 0, q.n, q.k, nullptr);
            ggml_backend_tensor_set(w[i], stored.data(), 0, stored.size());
        }
        ggml_backend_tensor_set(x, from.data(), 0, ggml_nbytes(x));
        return true;
    }

    void run() { ggml_backend_graph_compute(backend(), graph); }
};

static double once(Graph& g) {
    double best = 1e9;
    for (int i = 0; i < 5; i++) {
        auto begin = std::chrono::steady_clock::now();
        g.run();
        best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    }
    return best;
}

static Work make(const Question& q, const std::vector<float>& x, const std::vector<std::vector<float>>& weights) {
    std::shared_ptr<Graph> best;
    double least = 0;
    std::string how;
    for (auto layout : layouts()) {
        auto g = std::make_shared<Graph>();
        if (!g->make(q, layout, x, weights)) continue;
        double took = once(*g);
        if (!best || took < least) best = g, least = took, how = std::string(q.type) + " in " + ggml_backend_buft_name(layout);
    }
    if (!best) throw "it has no such product";
    return {[best] { best->run(); },
            [best, q](long row, long column) {
                float v;
                ggml_backend_tensor_get(best->first, &v, (row * q.n + column) * sizeof v, sizeof v);
                return v;
            },
            how};
}

int main() {
    ggml_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
    std::ostringstream about;
    about << "ggml " << ggml_version() << ", " << threads() << " threads, built with";
    auto device = ggml_backend_get_device(backend());
    auto features = (ggml_backend_get_features_t)ggml_backend_reg_get_proc_address(ggml_backend_dev_backend_reg(device), "ggml_backend_get_features");
    for (auto* f = features ? features(ggml_backend_dev_backend_reg(device)) : nullptr; f && f->name; f++) about << " " << f->name;
    return serve(about.str(), make);
}
