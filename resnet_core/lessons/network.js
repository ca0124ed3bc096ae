"use strict";
// A layer tree in plain JavaScript, one function for each kind of node, as `resnet_numpy.lowering` has them in NumPy.
//
// It needs nothing of a page. `network.read(plan, text)` gives the model of a plan (resnet_core/lessons/live.py) and of
// its weights, float16 in base64. `network.run(model, image, changes, keep)` gives the output for one image, numbers in
// the order height, width, channels. `changes` is {path of a block: "skip" or "cut"}: without what it computes, or
// without its shortcut. `keep(path, map)` gets what each layer and block computed. Arithmetic is in float64.
const network = (() => {
  const map = (shape, data) => ({ shape, data: data || new Float64Array(shape.reduce((size, side) => size * side, 1)) });

  // float16: a sign, five bits of exponent, ten of fraction.
  const half = (bits) => {
    const exponent = (bits >> 10) & 31, fraction = bits & 1023, sign = bits >> 15 ? -1 : 1;
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return sign * (exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24);
  };
  const halves = (text) => {
    const bytes = atob(text);
    return Float64Array.from({ length: bytes.length / 2 }, (_, n) => half(bytes.charCodeAt(2 * n) | (bytes.charCodeAt(2 * n + 1) << 8)));
  };

  const padded = (x, [[top, bottom], [left, right]]) => {
    const [height, width, channels] = x.shape;
    if (!(top || bottom || left || right)) return x;
    const y = map([height + top + bottom, width + left + right, channels]);
    const line = width * channels;
    for (let row = 0; row < height; row++) {
      y.data.set(x.data.subarray(row * line, (row + 1) * line), ((row + top) * y.shape[1] + left) * channels);
    }
    return y;
  };

  // Kernels are stored as (out, in / groups, height, width); a window is read row by row with its channels last.
  const windowed = (kernel, inputs, [rows, columns]) => {
    const area = rows * columns;
    return kernel.map((_, n) => {
      const place = n % (inputs * area), channel = place % inputs, position = (place - channel) / inputs;
      return kernel[n - place + channel * area + position];
    });
  };
  const convolution = (node, x) => {
    const [height, width, outputs] = node.shape, [rows, columns] = node.kernel;
    const source = padded(x, node.padding), across = source.shape[1], channels = source.shape[2];
    const inputs = channels / node.groups, each = outputs / node.groups, size = rows * columns * inputs;
    const y = map(node.shape), window = new Float64Array(size), { weight, bias } = node.values;
    for (let pixel = 0; pixel < height * width; pixel++) {
      const top = Math.floor(pixel / width) * node.stride[0], left = (pixel % width) * node.stride[1];
      for (let group = 0; group < node.groups; group++) {
        let filled = 0;
        for (let row = 0; row < rows; row++) {
          for (let column = 0; column < columns; column++) {
            const at = ((top + row * node.dilation[0]) * across + left + column * node.dilation[1]) * channels + group * inputs;
            for (let n = 0; n < inputs; n++) window[filled++] = source.data[at + n];
          }
        }
        // Four outputs at a time, so that the processor need not wait for one sum to go on with the next.
        const last = (group + 1) * each;
        for (let output = group * each; output < last; output += 4) {
          const start = output * size, count = Math.min(4, last - output);
          let [a, b, c, d] = [0, 0, 0, 0];
          for (let n = 0, at = start; n < size; n++, at++) {
            const value = window[n];
            a += value * weight[at];
            b += value * weight[at + size];
            c += value * weight[at + 2 * size];
            d += value * weight[at + 3 * size];
          }
          const sums = [a, b, c, d];
          for (let n = 0; n < count; n++) y.data[pixel * outputs + output + n] = sums[n] + (bias ? bias[output + n] : 0);
        }
      }
    }
    return y;
  };

  // Pools: each output looks at some rows and some columns, each with a weight.
  const pooled = (node, x, seen, start, join) => {
    const [height, width, channels] = node.shape, y = map(node.shape);
    const [down, across] = [0, 1].map((axis) => Array.from({ length: node.shape[axis] }, (_, n) =>
      seen(n * node.stride[axis], x.shape[axis], axis).filter(([place]) => place >= 0 && place < x.shape[axis])));
    for (let i = 0; i < height; i++) for (let j = 0; j < width; j++) for (let c = 0; c < channels; c++) {
      let value = start;
      for (const [row, one] of down[i]) for (const [column, other] of across[j]) {
        value = join(value, x.data[(row * x.shape[1] + column) * channels + c] * one * other);
      }
      y.data[(i * width + j) * channels + c] = value;
    }
    return y;
  };
  const add = (a, b) => a + b;
  const places = (count, of) => Array.from({ length: count }, (_, n) => of(n));
  const averagePool = (node, x) => pooled(node, x, (first, size, axis) => {
    const count = node.kernel[axis], dilation = node.dilation[axis];
    if (!node.partial) return places(count, (n) => [first + n * dilation, 1 / count]);
    return [[first, 0.5], [first + dilation < size ? first + dilation : first, 0.5]]; // beyond the edge, itself
  }, 0, add);
  const blurPool = (node, x) => pooled(node, x, (middle, size, axis) => {
    const [before, behind] = [middle - node.dilation[axis], middle + node.dilation[axis]];
    return [[before < 0 ? behind : before, 0.25], [middle, 0.5], [behind < size ? behind : before, 0.25]]; // reflected
  }, 0, add);
  const maxPool = (node, x) => pooled(node, x, (first, size, axis) =>
    places(node.kernel[axis], (n) => [first + n - node.padding[axis][0], 1]), -Infinity, Math.max);
  const subsample = (node, x) => pooled(node, x, (first) => [[first, 1]], 0, add);

  const everyValue = (x, of) => map(x.shape, x.data.map(of));
  const padChannels = (node, x) => {
    const y = map(node.shape), channels = x.shape[2];
    x.data.forEach((value, n) => { y.data[Math.floor(n / channels) * node.shape[2] + node.before + (n % channels)] = value; });
    return y;
  };
  const overPositions = (x, start, join) => {
    const channels = x.shape[x.shape.length - 1], y = map([channels], new Float64Array(channels).fill(start));
    x.data.forEach((value, n) => { y.data[n % channels] = join(y.data[n % channels], value); });
    return y;
  };
  const globalMean = (x) => everyValue(overPositions(x, 0, add), (sum) => sum / (x.shape[0] * x.shape[1]));
  const globalMax = (x) => overPositions(x, -Infinity, Math.max);

  const fixedNorm = (node, x) => {
    const { weight, bias, running_mean: mean, running_var: variance } = node.values, channels = x.shape[x.shape.length - 1];
    return everyValue(x, (value, n) => {
      const c = n % channels;
      return (value - mean[c]) * (weight[c] / Math.sqrt(variance[c] + node.epsilon)) + bias[c];
    });
  };
  // `set` says to which set a number belongs; each has its own mean and biased variance.
  const ownNorm = (node, x, sets, set) => {
    const [count, sum, squares] = [new Float64Array(sets), new Float64Array(sets), new Float64Array(sets)];
    x.data.forEach((value, n) => { count[set(n)]++; sum[set(n)] += value; });
    const mean = sum.map((total, n) => total / count[n]);
    x.data.forEach((value, n) => { squares[set(n)] += (value - mean[set(n)]) ** 2; });
    const { weight, bias } = node.values, channels = weight.length;
    return everyValue(x, (value, n) =>
      ((value - mean[set(n)]) / Math.sqrt(squares[set(n)] / count[set(n)] + node.epsilon)) * weight[n % channels] + bias[n % channels]);
  };
  const groupNorm = (node, x) => ownNorm(node, x, node.groups, (n) => Math.floor((n % node.channels) / (node.channels / node.groups)));
  const layerNorm = (node, x) => ownNorm(node, x, x.data.length / node.channels, (n) => Math.floor(n / node.channels));

  const linear = (node, x) => {
    const y = map(node.shape), { weight, bias } = node.values, [inputs, outputs] = [node.in_features, node.out_features];
    y.data.forEach((_, n) => {
      const output = n % outputs, position = (n - output) / outputs;
      let sum = bias ? bias[output] : 0;
      for (let c = 0; c < inputs; c++) sum += x.data[position * inputs + c] * weight[output * inputs + c];
      y.data[n] = sum;
    });
    return y;
  };
  const channelConv = (node, x) => everyValue(x, (_, c) => {
    let sum = 0;
    for (let n = 0; n < node.kernel; n++) sum += (x.data[c + n - (node.kernel - 1) / 2] || 0) * node.values.weight[n];
    return sum;
  });

  // 2 / sqrt(pi) * exp(-x^2) * (x + 2 x^3 / 3 + 4 x^5 / 15 + …), whose terms all have one sign.
  const erf = (x) => {
    if (Math.abs(x) > 6) return Math.sign(x);
    let [term, sum] = [x, 0];
    for (let n = 1; sum !== sum + term; n++) {
      sum += term;
      term *= (2 * x * x) / (2 * n + 1);
    }
    return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
  };
  const sigmoid = (x) => 1 / (1 + Math.exp(-x));
  const functions = {
    relu6: (x) => Math.min(Math.max(x, 0), 6),
    leaky_relu: (x, node) => (x > 0 ? x : node.slope * x),
    silu: (x) => x * sigmoid(x),
    gelu: (x) => (x * (1 + erf(x / Math.SQRT2))) / 2,
    gelu_tanh: (x) => (x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)))) / 2,
    hardswish: (x) => (x * Math.min(Math.max(x + 3, 0), 6)) / 6,
    sigmoid,
  };

  const chain = (nodes, x, context) => nodes.reduce((value, node) => compute(node, value, context), x);
  const residual = (node, x, context) => {
    const p = chain(node.pre, x, context), change = context.changes[node.path];
    const main = change === "skip" ? null : chain(node.body, p, context);
    const short = change === "cut" ? null : chain(node.shortcut, p, context);
    const both = main && short ? everyValue(main, (value, n) => value + short.data[n]) : main || short;
    return chain(node.post, both, context);
  };
  const gate = (node, x, context) => {
    const factors = chain(node.body, x, context).data;
    return everyValue(x, (value, n) => value * factors[n % factors.length]);
  };

  const kinds = {
    Conv: convolution, BatchNorm: fixedNorm, FrozenNorm: fixedNorm, GroupNorm: groupNorm, LayerNorm: layerNorm,
    ReLU: (_, x) => everyValue(x, (value) => Math.max(value, 0)),
    Activation: (node, x) => everyValue(x, (value) => functions[node.function](value, node)),
    MaxPool: maxPool, AveragePool: averagePool, BlurPool: blurPool, Subsample: subsample,
    Pad: (node, x) => padded(x, node.padding), PadChannels: padChannels,
    GlobalAveragePool: (_, x) => globalMean(x), GlobalMaxPool: (_, x) => globalMax(x),
    GlobalConcatPool: (node, x) => map(node.shape, Float64Array.of(...globalMean(x).data, ...globalMax(x).data)),
    ChannelConv: channelConv, Linear: linear,
    Chain: (node, x, context) => chain(node.parts, x, context), Residual: residual, Gate: gate,
  };
  const compute = (node, x, context) => {
    const y = kinds[node.kind](node, x, context);
    context.keep(node.path, y);
    return y;
  };

  const read = (plan, text) => {
    const stored = halves(text);
    const ready = (node) => {
      for (const part of ["parts", "pre", "body", "shortcut", "post"]) if (node[part]) node[part].forEach(ready);
      node.values = {};
      for (const [name, start, end] of node.tensors || []) node.values[name] = stored.subarray(start, end);
      if (node.kind === "Conv") {
        node.values.weight = windowed(node.values.weight, node.in_channels / node.groups, node.kernel);
      }
    };
    ready(plan.root);
    return plan;
  };
  const run = (model, image, changes = {}, keep = () => {}) =>
    compute(model.root, map(model.input, Float64Array.from(image)), { changes, keep }).data;
  return { read, run, kinds: Object.keys(kinds), functions: Object.keys(functions) };
})();
