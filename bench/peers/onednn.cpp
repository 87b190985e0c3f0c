// oneDNN: matmul primitives, weights packed beforehand in the layout that it
// asks for. bf16 products take bf16 x and give f32 (bf16 inside a chain).
#include "peer.h"
#include <dnnl.hpp>
#include <memory>

using namespace dnnl;
using dt = memory::data_type;
using tag = memory::format_tag;

static memory filled(const engine& e, const memory::desc& d, dt type, const std::vector<float>& v) {
    memory m(d, e);
    if (type == dt::f32) {
        memcpy(m.get_data_handle(), v.data(), 4 * v.size());
    } else {
        auto p = static_cast<uint16_t*>(m.get_data_handle());
        for (size_t i = 0; i < v.size(); i++) p[i] = narrow(v[i]);
    }
    return m;
}

static const char* isa() {
    switch (get_effective_cpu_isa()) {
    case cpu_isa::avx2: return "AVX2";
    case cpu_isa::avx2_vnni: return "AVX2 with VNNI";
    case cpu_isa::avx512_core: return "AVX-512";
    case cpu_isa::avx512_core_vnni: return "AVX-512 with VNNI";
    case cpu_isa::avx512_core_bf16: return "AVX-512 with BF16";
    case cpu_isa::avx512_core_amx: return "AVX-512 with AMX";
    default: return "another instruction set";
    }
}

static Work make(const Question& q, const std::vector<float>& x, const std::vector<std::vector<float>>& weights) {
    if (q.type != "f32" && q.type != "bf16") throw "it is asked for f32 and bf16 alone";
    engine e(engine::kind::cpu, 0);
    dt type = q.type == "f32" ? dt::f32 : dt::bf16, last = q.layers == 1 ? dt::f32 : type;
    memory::desc from({q.m, q.k}, type, tag::ab), to({q.m, q.n}, last, tag::ab), any({q.k, q.n}, type, tag::any);
#if DNNL_VERSION_MAJOR >= 3
    matmul::primitive_desc pd(e, from, any, to);
#else
    matmul::primitive_desc pd({from, any, to}, e);
#endif
    struct Data {
        stream s;
        matmul product;
        std::vector<memory> weights, values;
    };
    auto d = std::make_shared<Data>(Data{stream(e), matmul(pd), {}, {filled(e, from, type, x), memory(to, e), memory(to, e)}});
    for (auto& w : weights) {
        memory plain = filled(e, {{q.k, q.n}, type, tag::ba}, type, w), packed(pd.weights_desc(), e);
        reorder(plain, packed).execute(d->s, plain, packed);
        d->s.wait();
        d->weights.push_back(packed);
    }
    auto run = [d, q] {
        memory* from = &d->values[0];
        for (long i = 0; i < q.layers; i++) {
            memory* to = &d->values[1 + i % 2];
            d->product.execute(d->s, {{DNNL_ARG_SRC, *from}, {DNNL_ARG_WEIGHTS, d->weights[i]}, {DNNL_ARG_DST, *to}});
            from = to;
        }
        d->s.wait();
    };
    return {run, [d, q](long row, long column) { return static_cast<float*>(d->values[1].get_data_handle())[row * q.n + column]; }};
}

int main() {
    const version_t* v = dnnl::version();
    std::ostringstream about;
    about << "oneDNN " << v->major << "." << v->minor << "." << v->patch << ", " << isa() << ", weights packed beforehand";
    return serve(about.str(), make);
}
