// Winograd's minimal filtering: OUTPUTS results of a filter of TAPS numbers by SIDE = OUTPUTS + TAPS - 1 products,
//
//   y = A^T [(G g) * (B^T d)],    y[i] = sum over t of g[t] d[i + t],
//
// in two dimensions with each matrix from both sides (Lavin and Gray, "Fast Algorithms for Convolutional Neural
// Networks", 2015). They are made by Cook and Toom's way from five points and infinity: row i of G is a_i^t / f_i, column
// i of A^T is a_i^k, row i of B^T holds the coefficients of the product of (x - a_j) over the other j, f_i its value at
// a_i. At the points 0, +-2/3 and +-3/2 errors are 1.8 times those of the plain sum, at 0, +-1 and +-2 four times.
//
// The filter's gradient takes the same matrices turned round: g' = G^T [(A y') * (B^T d)].

layout(constant_id = 12) const uint TAPS = 3;
#define SIDE 6
const uint OUTPUTS = SIDE + 1 - TAPS;

const float P = 2.0 / 3, Q = 3.0 / 2; // P Q = 1
const float POINTS[] = float[](0, P, -P, Q, -Q);
const float SCALES[] = float[](1, -81.0 / 130, -81.0 / 130, 8.0 / 65, 8.0 / 65, 1);
const float INPUT[] = float[](
    1, 0, -P * P - Q * Q, 0, 1, 0,
    0, -Q, -Q * Q, P, 1, 0,
    0, Q, -Q * Q, -P, 1, 0,
    0, -P, -P * P, Q, 1, 0,
    0, P, -P * P, -Q, 1, 0,
    0, 1, 0, -P * P - Q * Q, 0, 1
);

// a_i^k; infinity has the highest power alone
float power(uint i, uint k, uint powers) {
    if (i == SIDE - 1) return k == powers - 1 ? 1.0 : 0.0;
    float power = 1;
    [[unroll]] for (uint j = 0; j < SIDE - 1; j++) power *= j < k ? POINTS[i] : 1.0;
    return power;
}

float input_matrix(uint i, uint l) {
    return INPUT[i * SIDE + l];
}
float filter_matrix(uint i, uint t) {
    return power(i, t, TAPS) * SCALES[i];
}
float output_matrix(uint k, uint i) {
    return power(i, k, OUTPUTS);
}
